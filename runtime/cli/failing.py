"""How commands fail: an error in a line on standard error, with `--json` also as JSON on standard output; exit codes.

Exit codes: 0 all well; 1 something failed (a photo, a parity check, a bundle); 2 the command line was wrong; 3 the
gate of `calibrate` refused its engines; 130 interrupted.
"""

from __future__ import annotations

import errno
import functools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import click

from ..errors import OutputError, OvdeployError, OvdeployWarning, printable

Command = TypeVar("Command", bound=Callable[..., Any])

FAILED, MOST_VERBOSE = 1, 2
JSON, STDOUT = "--json", "-"
"""The option that asks for JSON; where it takes a file, the name of standard output."""


def fail_cleanly(command: Command) -> Command:
    """Turn our own errors and warnings, and the system's errors, into a line each on standard error.

    Errors end the command with exit code 1; others keep their trace. The command gets the option `--verbose`, which
    lets it hear what the library logs.
    """

    @functools.wraps(command)
    def wrapped(*args: Any, verbose: int = 0, **kwargs: Any) -> Any:
        from ..reporting import logged

        as_json = kwargs.get("as_json") is True or kwargs.get("json_file") == STDOUT
        try:
            with warnings_told(), logged(verbose, lambda line: click.echo(printable(line), err=True)):
                return command(*args, **kwargs)
        except OvdeployError as error:
            tell_error(error, as_json)
            sys.exit(FAILED)
        except OSError as error:
            if error.errno == errno.EPIPE:  # who reads our output has read enough; click ends quietly
                raise
            tell_error(error, as_json)
            sys.exit(FAILED)

    told = "Say on standard error what is done; -vv in detail."
    levels = click.IntRange(0, MOST_VERBOSE, clamp=True)
    return click.option("-v", "--verbose", count=True, type=levels, help=told)(wrapped)  # type: ignore[return-value]


def tell_error(error: Exception, as_json: bool, **about: str) -> None:
    """Write an error to standard error, in a line; and to standard output as a JSON object, if that was asked for.

    Args:
        error: ours, or the system's.
        as_json: whether the command was called with `--json`.
        about: what the object says beside the error: the photo's path as `image`.
    """
    click.echo(f"error: {printable(error)}", err=True)
    if as_json:
        plain = {name: value for name, value in vars(error).items() if isinstance(value, str | int) and value != ""}
        tell_json(type(error).__name__, str(error), about, exit_code=FAILED, **plain)


def tell_failed(error: Exception, photo: str, output: Path, as_json: bool) -> None:
    """Tell of a photo that failed, in a run that goes on.

    Args:
        error: what its results cost.
        photo: its name.
        output: where results go.
        as_json: whether the command was called with `--json`.

    Raises:
        OutputError: the next photo would fail in the same way.
    """
    from ..boundary.reading import reason
    from ..files import is_lasting

    if isinstance(error, OSError) and is_lasting(error):
        raise OutputError(
            f"{photo}: the results cannot be written to {output}: {reason(error)}. The run ends here, since the next "
            f"photo would fail in the same way; the results of the photos before are whole"
        ) from error
    tell_error(error, as_json, image=photo)


def tell_json(kind: str, message: str, about: dict[str, str] | None = None, **more: Any) -> None:
    """Write an error to standard output as a JSON object in a line.

    Args:
        kind: the error's class.
        message: what it says.
        about: what it is about.
        more: its attributes.
    """
    from ..boundary.reading import to_json

    click.echo(to_json({**(about or {}), "error": {"type": kind, "message": message, **more}}).decode())


def asks_for_json(command: click.Command, given: Sequence[str]) -> bool:
    """Whether a command line that cannot be read asks for JSON on standard output.

    Args:
        command: that could not read it.
        given: the command line.
    """
    options = given[: given.index("--")] if "--" in given else given
    takes_file = any(JSON in option.opts and not getattr(option, "is_flag", False) for option in command.params)
    if takes_file:
        return f"{JSON}={STDOUT}" in options or (JSON, STDOUT) in pairwise(options)
    return JSON in options


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
