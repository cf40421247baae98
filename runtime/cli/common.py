"""Common ground of the commands: errors told in one line, and exit codes.

Exit codes: 0 all well; 1 something failed (a photo, a parity check, a bundle); 2 the command line was wrong; 3 the
gate of `calibrate` refused its engines; 130 interrupted.
"""

from __future__ import annotations

import errno
import functools
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from ..backends.options import MOST_THREADS
from ..bundle.signature import VERIFY_VARIABLE
from ..errors import OvdeployError, OvdeployWarning, printable
from ..geometry.limits import DEVICES
from ..recipe.parameters_file import load_parameters

Command = TypeVar("Command", bound=Callable[..., Any])


def fail_cleanly(command: Command) -> Command:
    """Turn our own errors and warnings, and the system's errors, into a line each on standard error.

    Errors end the command with exit code 1; others keep their trace.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        try:
            with warnings_told():
                return command(*args, **kwargs)
        except OvdeployError as error:
            click.echo(f"error: {printable(error)}", err=True)
            sys.exit(1)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads our output has read enough; click ends quietly
                raise
            click.echo(f"error: {printable(error)}", err=True)
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
                click.echo(f"warning: {printable(message)}", err=True)

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
    "--threads",
    type=click.IntRange(1, MOST_THREADS),
    help="Threads within an operator.  [default: the backend's choice]",
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
