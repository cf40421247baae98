"""The code that an engine depends on, as a hash: what is imported on the way to it, and nothing else.

Comments, docstrings and layout are no code. Imports are followed, also those inside functions, but not those for type
checkers, through this package and through those that a pipeline from outside is made of; of the libraries that are
wrapped the versions count (`fingerprint.versions_of_makers`).
"""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

PACKAGE = "ovdeploy"

Reader = Callable[[str], str]
"""From a module's name to its source."""


@cache
def source_of(module: str) -> str:
    """The source of a module."""
    spec = find_spec(module)
    assert spec is not None and spec.origin is not None, f"{module} is a module of this package"
    return Path(spec.origin).read_text(encoding="utf-8")


def code_digest(roots: Iterable[str], read: Reader = source_of, packages: Iterable[str] = (PACKAGE,)) -> str:
    """SHA-256 of some modules and of all that they import from this package.

    Args:
        roots: names of modules.
        read: gives a module's source.
        packages: through which imports are followed.
    """
    digest = hashlib.sha256()
    for name in sorted(import_closure(roots, read, packages)):
        digest.update(f"{name}\n{bare(read(name))}\n".encode())
    return digest.hexdigest()


def import_closure(roots: Iterable[str], read: Reader = source_of, packages: Iterable[str] = (PACKAGE,)) -> set[str]:
    """Names of the modules, and of all modules of some packages that they import, directly or not."""
    seen: set[str] = set()
    followed = {*packages, PACKAGE}
    waiting = [name for name in roots if package_of(name) in followed]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting += [each for each in _imported(name, read(name)) if package_of(each) in followed]
    return seen


def package_of(module: str) -> str:
    """The outermost package of a module."""
    return module.partition(".")[0]


@cache
def bare(source: str) -> str:
    """A source as a tree without docstrings, comments and layout."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):  # docstrings, and those behind attributes: expressions that do nothing
            node.body = [each for each in body if not _is_text(each)]  # type: ignore[attr-defined]
    return ast.dump(tree)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _imported(module: str, source: str) -> Iterator[str]:
    """The modules that a module imports by name; those that only their package imports are not."""
    for node in _code(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = _stem(module, node)
            if package_of(stem) in {PACKAGE, package_of(module)}:  # finding others would import them
                yield from dict.fromkeys(_module_of(stem, alias.name) for alias in node.names)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes but those behind `if TYPE_CHECKING`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _code(child)


def _stem(module: str, node: ast.ImportFrom) -> str:
    """The module behind `from`, as an absolute name."""
    if not node.level:
        return node.module or ""
    spec = find_spec(module)
    package = module if spec is not None and spec.submodule_search_locations is not None else module.rpartition(".")[0]
    parents = package.split(".")
    return ".".join([*parents[: len(parents) - node.level + 1], *([node.module] if node.module else [])])


@cache
def _module_of(stem: str, name: str) -> str:
    """The module that `from stem import name` is about: one of that name, or `stem` itself."""
    spec = find_spec(stem)
    if spec is None or spec.submodule_search_locations is None:
        return stem
    return f"{stem}.{name}" if find_spec(f"{stem}.{name}") is not None else stem
