"""Blocks of Markdown, wrapped like those that are written by hand."""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

WIDTH = 120


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; pipes in cells are escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "&#124;") for cell in line) + " |" for line in lines)


def prose(text: str) -> str:
    """A paragraph, wrapped like those that are written by hand."""
    return textwrap.fill(" ".join(text.split()), WIDTH, break_long_words=False, break_on_hyphens=False)


def items(*texts: str) -> str:
    """A list."""
    return "\n".join(textwrap.fill(text, WIDTH, initial_indent="- ", subsequent_indent="  ") for text in texts)


def plain(text: str) -> str:
    """Text that is data: an asterisk in it is one."""
    return text.replace("*", r"\*")


def summary(of: Any) -> str:
    """A docstring up to its arguments and errors."""
    return re.split(r"\n\s*(?:Attributes|Args|Raises|Returns):\n", inspect.getdoc(of) or "")[0].strip()


def code(names: Iterable[str], nothing: str = "") -> str:
    """Names as code, with commas between them."""
    return ", ".join(f"`{name}`" for name in names) or nothing
