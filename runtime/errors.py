"""The exception tree. Every error says what was expected, what came, and what to do.

OvdeployError
├── RecipeError          a recipe that cannot be understood
├── ParameterError       a parameter's name, value or time of change is wrong
├── VocabularyError      class names or embeddings that cannot be used
├── PhotoError           a photo that cannot be read
├── VideoError           a video that cannot be read
├── PromptError          points, a box or a mask that cannot be used
├── DatasetError         a dataset, or a label map of it, that cannot be read
├── OutputError          results that cannot be written
├── BundleError          a bundle that is missing, damaged, unsafe or of another schema
├── BusyError            a place that another process is writing
├── EngineError          an engine that refused its input, failed, or returned NaN
├── FileError            the system refused a file or a folder (an OSError too)
├── WrongTypeError       an argument of another type than the function takes (a TypeError too)
├── MissingExtraError    an optional dependency is not installed
├── WeightsError         a checkpoint that does not fit the model (build box)
└── ExportError          a stage that could not be exported (build box)

OvdeployWarning is no error: the answer is there, and may not be what was meant.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any


class OvdeployError(Exception):
    """Root of everything this package raises on purpose.

    All kinds can be pickled and copied, whatever their constructors take: message and attributes stay.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (type(self), self.args, self._kept())

    def _kept(self) -> dict[str, Any]:
        """The attributes that a copy has too."""
        return dict(self.__dict__)


class RecipeError(OvdeployError):
    """A recipe has an unknown key, method or model, or a value out of range."""


class ParameterError(OvdeployError):
    """A parameter is unknown, out of range, or baked into the engines."""


class VocabularyError(OvdeployError):
    """Class names are empty or repeated, or the embeddings do not fit them."""


class PhotoError(OvdeployError):
    """A photo is missing, truncated, empty, not an image, or too large."""


class VideoError(OvdeployError):
    """A video is missing, damaged at its beginning, of a format that is not read, or too large."""


class PromptError(OvdeployError):
    """Points, a box or a mask of an interactive prompt are missing or malformed."""


class DatasetError(OvdeployError):
    """A dataset is unknown or not laid out as expected, or a label map does not fit its photo."""


class OutputError(OvdeployError):
    """Results cannot be written: a folder is read-only or no folder, or its disk is full."""


class BundleError(OvdeployError):
    """A bundle is missing, damaged, unsafe, or written by another schema version."""


class BusyError(OvdeployError):
    """A place is being written by another process."""


class EngineError(OvdeployError):
    """An engine refused its input, failed while running, or returned NaN or infinity.

    Attributes:
        stage: of the engine, where the message names it; empty where it does not.
    """

    def __init__(self, message: str, stage: str = "") -> None:
        super().__init__(message)
        self.stage = stage


class FileError(OvdeployError, OSError):
    """The system refused a file or a folder: no permission, no room, a name that it does not take.

    Attributes:
        errno: the system's number of the reason; None where it gave none.
    """

    def __init__(self, message: str, errno: int | None = None) -> None:
        super().__init__(message)
        self.errno = errno

    def _kept(self) -> dict[str, Any]:
        return {**super()._kept(), "errno": self.errno}


class WrongTypeError(OvdeployError, TypeError):
    """An argument is of a Python type that the function does not take."""


class WeightsError(OvdeployError):
    """A checkpoint is missing or does not fit the model."""


class ExportError(OvdeployError):
    """A stage could not be exported, or its graph failed a check."""


class MissingExtraError(OvdeployError):
    """An optional dependency is needed and not installed.

    Attributes:
        package: what is missing, as pip names it.
        extra: of ours, that brings it.
        purpose: what needs it.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self.package, self.extra, self.purpose = package, extra, purpose
        what, named = (each if isinstance(each, str) else shown(each) for each in (purpose, extra))
        super().__init__(
            f"{what} needs {shown(package)}, which is not installed; install it with: pip install 'ovdeploy[{named}]'"
        )


class OvdeployWarning(UserWarning):
    """Something was taken in a way that may not be meant: the message says how, and what to do if it is not.

    Python's `warnings` decides what becomes of it; the commands write it to standard error, each once. What concerns a
    photo is also in its result (`Result.warnings`).
    """


_heard: ContextVar[list[str] | None] = ContextVar("_heard", default=None)


def warn(message: str) -> None:
    """Tell the user, as an `OvdeployWarning`.

    Args:
        message: without the name of a photo, so that a thousand photos with the same flaw are told of once.
    """
    heard = _heard.get()
    if heard is not None and message not in heard:
        heard.append(message)
    warnings.warn(message, OvdeployWarning, stacklevel=2)


@contextmanager
def hearing() -> Iterator[list[str]]:
    """Collect what is warned of in this thread; it is told to the user all the same."""
    heard: list[str] = []
    token = _heard.set(heard)
    try:
        yield heard
    finally:
        _heard.reset(token)


OF_ONE_PHOTO = (PhotoError, DatasetError, EngineError, OSError)
"""Errors that may befall one photo and not the next: a batch tells them and goes on. `FileError` is an OSError."""


def _again(kind: type[OvdeployError], args: tuple[Any, ...], kept: dict[str, Any]) -> OvdeployError:
    """An error as it was, without its constructor, which may take something else than its message."""
    error = kind.__new__(kind, *args)
    error.args = args
    for name, value in kept.items():
        setattr(error, name, value)
    return error


@contextmanager
def needing(package: str, extra: str, purpose: str) -> Iterator[None]:
    """Import what an extra brings: where an import fails, say what installs it.

    Args:
        package: what is imported, as pip names it.
        extra: of ours, that brings it.
        purpose: what needs it.

    Raises:
        MissingExtraError: an import within failed.
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtraError(package, extra, purpose) from error


def one_of(kind: str, name: Any, valid: Iterable[str]) -> str:
    """The sentence that answers an unknown name with the valid ones, the likeliest first."""
    names = sorted(valid)
    close = difflib.get_close_matches(name[:SHOWN], names, n=1) if isinstance(name, str) else []
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {shown(name)}.{hint} Valid: {', '.join(names)}."


SHOWN = 200
"""Characters of a value in a message."""


def shown(value: Any) -> str:
    """A value as messages show it: Python's notation, not endlessly long, whatever the value's own methods do."""
    if type(value) is int and value.bit_length() > 64:
        return f"a number of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception:  # numbers of more digits than Python writes out, objects that are broken
        return f"a value of type {type(value).__name__}"
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def printable(text: object) -> str:
    """A text for a terminal: names of files that are not UTF-8 with their bytes as `\\udcff`, for byte 255."""
    return str(text).encode("utf-8", "backslashreplace").decode()
