"""Options that the commands that need PyTorch share."""

from __future__ import annotations

import functools
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any

import click

from ...runtime.cli.common import parse_pairs, together
from ...runtime.errors import one_of

WEIGHTS_HELP = (
    "`pretrained` (the recipe's tag), `package`, `random:SEED`, or a checkpoint's file or folder. "
    "Default: as the recipe says."
)
MODELS = "ovdeploy.models"
"""Entry-point group of the roles that models can play."""


def weight_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say where weights come from: one for each role, and `--weights` for any; the command gets
    `weights`, sources by role."""
    roles = sorted(entry_points(group=MODELS).names)

    @functools.wraps(command)
    def wrapped(*args: Any, pairs: tuple[str, ...], **options: Any) -> Any:
        given = parse_pairs(pairs)
        if wrong := [role for role in given if role not in roles]:
            raise click.BadParameter(one_of("role", wrong[0], roles))
        own = {role: options.pop(f"{role}_weights".replace("-", "_")) for role in roles}
        return command(*args, weights={**given, **{r: s for r, s in own.items() if s}}, **options)

    return together(
        *(click.option(f"--{role}-weights", metavar="SOURCE", help=f"{role}: {WEIGHTS_HELP}") for role in roles),
        click.option("--weights", "pairs", multiple=True, metavar="ROLE=SOURCE", help="The same for any role."),
    )(wrapped)
