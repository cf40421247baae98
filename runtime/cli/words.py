"""Class names on the command line: listed by `--classes`, or in a file of their own."""

from __future__ import annotations

from pathlib import Path

import click

from ..boundary.reading import is_file, read_bytes
from ..errors import VocabularyError
from ..words.vocabulary import SEPARATOR

PATHS = (".txt", ".csv", ".tsv", ".json", ".toml", ".yaml", ".yml", ".names", ".npz")
"""Suffixes of files that people keep names in; no class is called so."""

SAVED = ".npz"

classes_file_option = click.option(
    "--classes-file",
    "classes_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Classes from a file, one a line, synonyms by comma; UTF-8.",
)


def class_entries(listed: str | None, file: Path | None) -> list[str] | None:
    """The classes that the command line names, synonyms separated by semicolons; None if it names none.

    Args:
        listed: the value of `--classes`.
        file: that of `--classes-file`.

    Raises:
        click.UsageError: both are given, or what is listed is a path.
        VocabularyError: the file cannot be read, or names nothing.
    """
    if listed and file:
        raise click.UsageError("give either --classes or --classes-file")
    if file is not None:
        return _from_file(file)
    if not listed:
        return None
    if problem := _path_problem(listed):
        raise click.UsageError(problem)
    return [entry.strip() for entry in listed.split(",")]


def _path_problem(listed: str) -> str:
    """What to do about a list of classes that is a path; empty if it is none."""
    text = listed.strip()
    suffix = Path(text).suffix.lower()
    if "," in text or SEPARATOR in text or not (suffix in PATHS or is_file(text)):
        return ""
    option = "--vocabulary" if suffix == SAVED else "--classes-file"
    return f"--classes {text!r} would be a class of that name; for a file of class names give {option} {text}"


def _from_file(path: Path) -> list[str]:
    try:
        lines = read_bytes(path, VocabularyError, "the list of classes").decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise VocabularyError(f"{path} is not UTF-8 (byte {error.start}); save it as UTF-8") from error
    entries = [f"{SEPARATOR} ".join(word.strip() for word in line.split(",")) for line in lines if line.strip()]
    if not entries:
        raise VocabularyError(f"{path} names no classes; write one a line, synonyms by comma")
    return entries
