"""Class names on the command line: listed by `--classes`, in a file of their own, or a dataset's."""

from __future__ import annotations

import re
from pathlib import Path

import click
import msgspec

from ..boundary.reading import is_file, read_bytes, reason
from ..datasets import load_spec
from ..errors import VocabularyError
from ..words.vocabulary import SEPARATOR
from .common import together

PATHS = (".txt", ".csv", ".tsv", ".json", ".toml", ".yaml", ".yml", ".names", ".npz")
"""Suffixes of files that people keep names in; no class is called so."""

SAVED, COCO = ".npz", ".json"

COCO_LIMIT = 1 << 30
"""Bytes of a file of COCO's annotations: those of its 118,000 training photos have 470 million."""

WORD = re.compile(r'(?:"((?:[^"]|"")*)"|([^\s",;][^,;]*|))\s*([,;]|\Z)')
"""A name, and what ends it: in quotation marks it may hold commas, and quotation marks doubled."""

SPACE = re.compile(r"\s*")

classes_file_option = click.option(
    "--classes-file",
    "classes_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Classes from a file, one a line, synonyms by comma; UTF-8.",
)
classes_from_option = click.option(
    "--classes-from",
    "classes_from",
    metavar="DATASET",
    help="A dataset's classes: its name (voc21, ade20k, …), its TOML file, or a JSON file with COCO's categories.",
)
classes_options = together(
    click.option(
        "--classes",
        help='Classes by comma, synonyms by semicolon: "cup; mug, table". Default: the bundle\'s own. A name with a '
        "comma stands in quotation marks.",
    ),
    classes_file_option,
    classes_from_option,
)


class _Category(msgspec.Struct):
    id: int
    name: str


class _Categories(msgspec.Struct):
    categories: list[_Category]


def class_entries(listed: str | None, file: Path | None, dataset: str | None = None) -> list[str] | None:
    """The classes that the command line names, synonyms separated by semicolons; None if it names none.

    Args:
        listed: the value of `--classes`.
        file: that of `--classes-file`.
        dataset: that of `--classes-from`.

    Raises:
        click.UsageError: several are given, or what is listed is a path.
        VocabularyError: the file cannot be read, or names nothing.
        DatasetError: there is no such dataset.
    """
    options = {"--classes": listed, "--classes-file": file, "--classes-from": dataset}
    given = [name for name, value in options.items() if value]
    if len(given) > 1:
        raise click.UsageError(f"give either {' or '.join(given)}")
    if file is not None:
        return _from_file(file)
    if dataset:
        return _from_coco(Path(dataset)) if dataset.lower().endswith(COCO) else list(load_spec(dataset).entries)
    if not listed:
        return None
    if problem := _path_problem(listed):
        raise click.UsageError(problem)
    return _split(listed, "--classes")


def _split(listed: str, what: str) -> list[str]:
    """The classes of a list: by comma, their synonyms by semicolon, but for what stands in quotation marks.

    Raises:
        VocabularyError: a quotation mark has no other, or something stands behind the second.
    """
    classes: list[list[str]] = [[]]
    at, end = 0, ","
    while end:
        begin = SPACE.match(listed, at)
        found = WORD.match(listed, begin.end() if begin else at)
        if found is None:
            raise VocabularyError(
                f"{what}: the name at {listed[at : at + 40].strip()!r} begins with a quotation mark and does not end "
                f'with one; write "salt, pepper", and "" for a quotation mark within'
            )
        quoted, plain, end = found.groups()
        classes[-1].append(plain.strip() if quoted is None else quoted.replace('""', '"'))
        at = found.end()
        if end == ",":
            classes.append([])
    return [f"{SEPARATOR} ".join(words) for words in classes]


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
    entries = [f"{SEPARATOR} ".join(_split(line, f"{path}")) for line in lines if line.strip()]
    if not entries:
        raise VocabularyError(f"{path} names no classes; write one a line, synonyms by comma")
    return entries


def _from_coco(path: Path) -> list[str]:
    """The names of COCO's categories, in the order of their numbers."""
    content = read_bytes(path, VocabularyError, "the list of categories", COCO_LIMIT)
    try:
        found = msgspec.json.decode(content, type=_Categories).categories
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise VocabularyError(
            f"{path} has no categories as COCO writes them, a list of objects with `id` and `name` ({reason(error)})"
        ) from error
    if not found:
        raise VocabularyError(f"{path}: its list of categories is empty")
    return [category.name for category in sorted(found, key=lambda category: category.id)]
