"""The `ovdeploy` command. Subcommands come from the entry-point group `ovdeploy.commands`, loaded when called.

Nothing here imports what a subcommand needs: `ovdeploy --version` and `--help` answer at once.
"""

from __future__ import annotations

import click

from .group import Commands


@click.group(cls=Commands)
@click.version_option(package_name="ovdeploy", prog_name="ovdeploy")
def main() -> None:
    """Open-vocabulary segmentation: a photo and words in, a labelled mask out.

    Bundles are made on a machine with PyTorch by `export-engines`, and used here without it.
    """


__all__ = ["main"]
