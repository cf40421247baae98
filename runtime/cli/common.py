"""Common ground of the commands: errors told in one line, and exit codes.

Exit codes: 0 all well; 1 something failed (a photo, a parity check, a bundle); 2 the command line was wrong; 3 the
gate of `calibrate` refused its engines; 130 interrupted.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.status import Status

from ..errors import OvdeployError
from ..recipe.parameters_file import load_parameters
from ..reporting import Reporter

Command = TypeVar("Command", bound=Callable[..., Any])


def line_reporter(console: Console, status: Status | None = None) -> Reporter:
    """Shows every event as a line; with a status line, what merely goes on now there and results above it."""

    def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        if status is not None and not lasting:
            status.update(f"{about}: {event}" if about else event)
        elif status is not None:
            console.print(f"{about:13} {event}", highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(f"{about}: {event}" if about else event, highlight=False, markup=False)

    return tell


def status_reporter(status: Status) -> Reporter:
    """Shows what goes on now, and nothing of what was."""
    return lambda event, *, about="", share=None, lasting=False: status.update(event)


def progress_bar(console: Console, *columns: ProgressColumn, quiet: bool = False, transient: bool = False) -> Progress:
    """A bar that shows how far work is, with what is being done before it.

    Args:
        console: where it is shown.
        columns: what follows the bar; none means how many of how many are done, and the time that is left.
        quiet: whether nothing is shown.
        transient: whether it disappears at the end.
    """
    following = columns or (MofNCompleteColumn(), TimeRemainingColumn())
    named = TextColumn("{task.description}")
    shown = Console(quiet=True) if quiet else console  # a bar that is off ends with an empty line before rich 15
    return Progress(named, BarColumn(), *following, console=shown, disable=quiet, transient=transient)


def fail_cleanly(command: Command) -> Command:
    """Turn our own errors into one line on standard error and exit code 1; others keep their trace."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except OvdeployError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return wrapped  # type: ignore[return-value]


def parse_settings(settings: tuple[str, ...]) -> dict[str, Any]:
    """`NAME=VALUE` pairs of `--set`, the values as TOML would read them.

    Raises:
        click.BadParameter: not a pair, or not a value.
    """
    parsed: dict[str, Any] = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals or not name.strip():
            raise click.BadParameter(f"{setting!r}: expected NAME=VALUE, for example --set stride=112")
        parsed[name.strip()] = _value(text.strip(), setting)
    return parsed


def parse_pairs(weights: Iterable[str]) -> dict[str, str]:
    """`ROLE=SOURCE` pairs of `--weights`.

    Raises:
        click.BadParameter: not a pair.
    """
    parts = [(weight, *weight.partition("=")) for weight in weights]
    for weight, role, _, source in parts:
        if not role or not source:
            raise click.BadParameter(f"{weight!r}: expected ROLE=SOURCE, for example --weights clip=clip.safetensors")
    return {role: source for _, role, _, source in parts}


def together(*options: Callable[[Command], Command]) -> Callable[[Command], Command]:
    """One decorator that adds several options, in their order."""

    def add(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


parameter_options = together(
    click.option(
        "--parameters",
        "overlay",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Override parameters by a file, as `ovdeploy tune` writes it; --set goes before it.",
    ),
    click.option(
        "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a parameter; may be repeated."
    ),
)
engine_options = together(
    click.option("--backend", default="auto", show_default=True, help="What runs the engines."),
    click.option("--precision", default="fp32", show_default=True, help="One that the bundle holds."),
)
thread_option = click.option(
    "--threads", type=click.IntRange(min=1), help="Threads within an operator.  [default: the backend's choice]"
)
gpu_options = together(
    click.option(
        "--device", type=click.IntRange(min=0), default=0, show_default=True, help="Which GPU, if one is used."
    ),
    click.option(
        "--allow-fallback", is_flag=True, help="Let the CPU do what a GPU provider cannot; else it is an error."
    ),
    click.option("--allow-host-code", is_flag=True, help="Open version-compatible TensorRT plans; trust their source."),
    click.option(
        "--backend-option",
        "backend_options",
        multiple=True,
        metavar="NAME=VALUE",
        callback=lambda context, option, given: dict(_pair(text) for text in given),
        help="An option that only this backend has, such as cuda-graphs=off for tensorrt-rtx; may be repeated.",
    ),
)


def read_overrides(overlay: Path | None, settings: tuple[str, ...]) -> dict[str, Any]:
    """The overrides that `parameter_options` mean.

    Raises:
        ParameterError: the file cannot be used.
        click.BadParameter: a setting is not a pair, or not a value.
    """
    return {**(load_parameters(overlay) if overlay else {}), **parse_settings(settings)}


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise click.BadParameter(f"{text!r}: expected NAME=VALUE, for example cuda-graphs=off")
    return name.strip(), value.strip()


def _value(text: str, setting: str) -> Any:
    words: dict[str, bool] = {"true": True, "false": False}
    if text.lower() in words:
        return words[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    raise click.BadParameter(f"{setting!r}: expected a number, true or false")
