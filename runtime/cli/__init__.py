"""The `ovdeploy` command. Subcommands come from the entry-point group `ovdeploy.commands`, loaded when called."""

from __future__ import annotations

from functools import cached_property
from importlib.metadata import EntryPoint, entry_points, version

import click

from .common import fail_cleanly

GROUP = "ovdeploy.commands"


class LazyGroup(click.Group):
    """A group whose commands are entry points: listing them imports only what `--help` has to describe."""

    @cached_property
    def found(self) -> dict[str, EntryPoint]:
        """Entry points by name."""
        return {point.name: point for point in entry_points(group=GROUP)}

    def list_commands(self, context: click.Context) -> list[str]:
        """All names, sorted."""
        return sorted(self.found)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        """The command of this name, imported now."""
        if name not in self.found:
            return None
        command: click.Command = self.found[name].load()
        return command


@click.group(cls=LazyGroup)
@click.version_option(version("ovdeploy"), prog_name="ovdeploy")
def main() -> None:
    """Open-vocabulary segmentation: a photo and words in, a labelled mask out.

    Bundles are made on a machine with PyTorch by `export-engines`, and used here without it.
    """


__all__ = ["fail_cleanly", "main"]
