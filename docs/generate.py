"""Writes the pages that are made from the code: `docs/bundle-format.md`, `docs/recipes.md` and `docs/checkpoints.md`.

`python docs/generate.py` writes them, `--check` exits with 1 if one of them is stale. It imports `ovdeploy.runtime`
alone, so it needs neither PyTorch nor an inference engine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path

from generator.bundle_format import bundle_page
from generator.checkpoints import checkpoints_page
from generator.recipes import recipes_page

DOCS = Path(__file__).resolve().parent
NOTICE = "<!-- Made by `python docs/generate.py` from the code's docstrings: change those, then run it again. -->"


def main() -> None:
    """Write the pages, or check them."""
    parser = argparse.ArgumentParser(description="Writes the pages that are made from the code.")
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is stale")
    check = parser.parse_args().check
    old = stale()
    for path in old:
        if not check:
            path.write_text(pages()[path], encoding="utf-8")
        print(f"docs/{path.name} {'is stale: run python docs/generate.py' if check else 'written'}")
    sys.exit(1 if check and old else 0)


def stale() -> list[Path]:
    """The pages whose file is missing, or is not what would be written now."""
    return [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


@cache
def pages() -> Mapping[Path, str]:
    """The text of every page that is made here."""
    made: Mapping[str, Callable[[], Iterator[str]]] = {
        "bundle-format.md": bundle_page,
        "recipes.md": recipes_page,
        "checkpoints.md": checkpoints_page,
    }
    return {DOCS / name: "\n\n".join([NOTICE, *make()]) + "\n" for name, make in made.items()}


if __name__ == "__main__":
    main()
