"""Common ground of the commands: errors told in one line, and exit codes.

Exit codes: 0 all well; 1 something failed (a photo, a parity check, a bundle); 2 the command line was wrong; 3 the
gate of `calibrate` refused its engines; 130 interrupted.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.status import Status
from rich.text import Text

from ..bundle.signature import VERIFY_VARIABLE
from ..errors import OvdeployError, OvdeployWarning
from ..geometry.limits import DEVICES
from ..recipe.parameters_file import load_parameters
from ..reporting import Reporter

INTERVAL = 5.0
"""Seconds between two lines that say how far work is, where no bar can be drawn."""

Command = TypeVar("Command", bound=Callable[..., Any])


def line_reporter(console: Console, status: Status | None = None) -> Reporter:
    """Shows every event as a line; with a status line, what merely goes on now there and results above it."""

    lines = Lines(console)

    def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        if status is not None and not lasting:
            status.update(f"{about}: {event}" if about else event)
            lines.tell(f"{about}: {event}" if about else event)
        elif status is not None:
            console.print(f"{about:13} {event}", highlight=False, markup=False, soft_wrap=True)
        else:
            console.print(f"{about}: {event}" if about else event, highlight=False, markup=False)

    return tell


def status_reporter(status: Status) -> Reporter:
    """Shows what goes on now, and nothing of what was."""
    lines = Lines(status.console)

    def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        status.update(event)
        lines.tell(event)

    return tell


class Lines:
    """What goes on, where nothing moves: on what is no terminal, a plain line from time to time."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self._console, self._now, self._said = console, now, now()

    def tell(self, event: str) -> None:
        """Say it, if the last line is some seconds old and nothing moving shows it."""
        if not self._console.is_terminal and self._now() - self._said >= INTERVAL:
            self._said = self._now()
            self._console.print(event, highlight=False, markup=False, soft_wrap=True)


class Bars(Progress):
    """Bars that say how far they are in lines where no bar can be drawn."""

    def __init__(self, *columns: ProgressColumn, console: Console, **how: Any) -> None:
        super().__init__(*columns, console=console, **how)
        self._lines = Lines(console)

    def update(self, task_id: TaskID, **fields: Any) -> None:
        """Change a task, as `Progress` does."""
        super().update(task_id, **fields)
        self._tell(task_id)

    def advance(self, task_id: TaskID, advance: float = 1) -> None:
        """Move a task on, as `Progress` does."""
        super().advance(task_id, advance)
        self._tell(task_id)

    def _tell(self, task_id: TaskID) -> None:
        task = next((task for task in self.tasks if task.id == task_id), None)
        if self.disable or task is None or task.total is None:
            return
        done = f"{task.completed:.0f} of {task.total:.0f}" if task.total > 1 else f"{task.percentage:.0f}%"
        self._lines.tell(f"{Text.from_markup(task.description).plain}: {done}")


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
    return Bars(named, BarColumn(), *following, console=console, disable=quiet, transient=transient)


def fail_cleanly(command: Command) -> Command:
    """Turn our own errors and warnings into a line each on standard error, errors into exit code 1 too.

    Other errors keep their trace.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with warnings_told():
                return command(*args, **kwargs)
        except OvdeployError as error:
            click.echo(f"error: {error}", err=True)
            sys.exit(1)

    return wrapped  # type: ignore[return-value]


@contextmanager
def warnings_told() -> Iterator[None]:
    """Write our own warnings to standard error, each once and in a line; what is set to be an error is one."""
    with warnings.catch_warnings():
        others, seen = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if not issubclass(category, OvdeployWarning):
                others(message, category, *place, **more)
            elif str(message) not in seen:
                seen.add(str(message))
                click.echo(f"warning: {message}", err=True)

        warnings.showwarning = show
        yield


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


def verify_option(command: Command) -> Command:
    """`--verify-key`, for commands that load bundles, and for their child processes: by the environment."""

    @functools.wraps(command)
    def wrapped(*args: Any, verify_key: Path | None, **kwargs: Any) -> Any:
        before = os.environ.get(VERIFY_VARIABLE)
        if verify_key is None:
            return command(*args, **kwargs)
        os.environ[VERIFY_VARIABLE] = str(verify_key)
        try:
            return command(*args, **kwargs)
        finally:
            if before is None:
                del os.environ[VERIFY_VARIABLE]
            else:
                os.environ[VERIFY_VARIABLE] = before

    told = "Refuse a bundle that was not signed with this key's private half (`ovdeploy sign`)."
    option = click.option("--verify-key", type=click.Path(path_type=Path), metavar="PUBLIC.pem", help=told)
    return option(wrapped)  # type: ignore[return-value]


bundle_argument = together(click.argument("bundle", type=click.Path(path_type=Path)), verify_option)
bundle_option = together(
    click.option(
        "--bundle", required=True, type=click.Path(path_type=Path), help="A folder that export-engines wrote."
    ),
    verify_option,
)
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
        "--device", type=click.IntRange(0, DEVICES), default=0, show_default=True, help="Which GPU, if one is used."
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
