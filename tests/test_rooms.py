"""The floor plan: rooms import only from rooms below them, nothing goes in circles, and stages are named at home alone.

Read in the source, imports inside functions included. What stands behind `if TYPE_CHECKING` is for annotations: it is
never imported, so it counts for the order of rooms, but not for circles.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from ovdeploy.runtime.recipe.registry import PIPELINES, pipeline_named
from support.samples import ROOT

ROOMS = (
    ("errors", "boundary", "files", "kept", "toml", "reporting"),
    ("geometry",),
    ("stage", "photo", "pictures", "words", "scenes"),
    ("datasets",),
    ("recipe", "backends"),
    ("graph", "labelling"),
    ("answers",),
    ("bundle",),
    ("pipelines",),
    ("bench", "evaluation"),
    ("batch", "video", "serving", "archive", "webdemo"),
    ("cli",),
)
"""Of runtime/, from the ground up. Rooms of one floor do not know each other, the modules of the ground floor may."""

EXPORT = (("models",), ("reference",), ("bundling",), ("parity",), ("tiny",), ("cli",))
"""Of export/, likewise."""

FACES = {"runtime": ("__init__", "overlay", "parameters_file"), "export": ("__init__", "commands", "model_table")}
"""Modules that give users names and paths, from whichever room."""

FOLDERS = ("runtime", "export", "calib")


def files(folder: str) -> Iterator[Path]:
    return (path for path in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in path.parts)


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["ovdeploy", *(parts[:-1] if parts[-1] == "__init__" else parts)])


@cache
def modules() -> frozenset[str]:
    return frozenset(module_of(path) for folder in (*FOLDERS, "engines") for path in files(folder))


@cache
def imported(path: Path, *, typing: bool) -> frozenset[str]:
    """The modules of this package that a file imports.

    Args:
        path: the file.
        typing: whether what is imported for annotations alone counts too.
    """
    package = ["ovdeploy", *path.relative_to(ROOT).parts[:-1]]
    found: set[str] = set()
    for node in walk(ast.parse(path.read_text()), typing=typing):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {name if (name := f"{stem}.{alias.name}") in modules() else stem for alias in node.names}
    return frozenset(found & modules() - {module_of(path)})


def walk(tree: ast.AST, *, typing: bool) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and not typing and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from walk(node, typing=typing)


def room_of(module: str, folder: str) -> str:
    """The room of a module in a folder of the package; "" for another folder's."""
    parts = module.split(".")
    return parts[2] if len(parts) > 2 and parts[1] == folder else ""


@pytest.mark.parametrize(("folder", "rooms"), [("runtime", ROOMS), ("export", EXPORT)])
def test_a_room_imports_only_from_rooms_below_it(folder, rooms):
    floor = {room: number for number, names in enumerate(rooms) for room in names}
    for path in files(folder):
        room = room_of(module_of(path), folder) or "__init__"
        if room in FACES[folder]:
            continue
        assert room in floor, f"{path} stands in no room; the rooms are {sorted(floor)}"
        ground = folder == "runtime" and floor[room] == 0
        for name in imported(path, typing=True):
            other = room_of(name, folder)
            if other and other != room and other not in FACES[folder]:
                assert floor[other] < floor[room] or (ground and floor[other] == 0), f"{path} imports {name}"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_file_imports_a_face(folder):
    """Faces are for users: behind them every name would look as if it came from everywhere."""
    faces = {f"ovdeploy.{there}.{face}" for there, names in FACES.items() for face in names if face != "__init__"}
    faces |= {"ovdeploy.runtime", "ovdeploy.export", "ovdeploy.runtime.recipe", "ovdeploy.runtime.bundle"}
    faces |= {"ovdeploy.runtime.photo", "ovdeploy.runtime.pipelines", "ovdeploy.runtime.backends"}
    for path in files(folder):
        if module_of(path) not in faces:
            assert not imported(path, typing=False) & faces, path


def circles(edges: dict[str, Iterable[str]]) -> list[list[str]]:
    """Groups of more than one that reach each other (Tarjan's strongly connected components)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges.get(node, ()):
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            group = [stack.pop()]
            while group[-1] != node:
                group.append(stack.pop())
            if len(group) > 1:
                found.append(sorted(group))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def test_circles_are_found():
    assert circles({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"]}) == [["a", "b", "c"]]
    assert circles({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_no_files_import_each_other_in_a_circle():
    edges = {module_of(path): imported(path, typing=False) for folder in FOLDERS for path in files(folder)}
    assert circles(edges) == []


def test_no_packages_import_each_other_in_a_circle():
    """A package here is a folder; what imports from its own folders is at home."""

    def package(module: str) -> str:
        path = ROOT.joinpath(*module.split(".")[1:])
        return module if path.is_dir() else module.rpartition(".")[0]

    edges: dict[str, set[str]] = {}
    for folder in FOLDERS:
        for path in files(folder):
            if path.name != "__init__.py":  # faces
                here = package(module_of(path))
                others = {package(name) for name in imported(path, typing=False)} - {here}
                edges.setdefault(here, set()).update(others)
    faces = {"ovdeploy.runtime", "ovdeploy.export"}  # their modules are the ground floor and the faces
    assert circles({here: others - faces for here, others in edges.items() if here not in faces}) == []


def test_the_halls_are_small():
    """At most six modules at the top of runtime/, faces included."""
    assert len([path for path in (ROOT / "runtime").glob("*.py") if path.stem != "__init__"]) <= 6


PIPELINE_NAMES = ("training-free", "prompting", "tracking", "dense", "grounded")
STAGES = sorted({use.name for name in PIPELINE_NAMES for use in pipeline_named(name).stages})
ROLES = sorted({role for name in PIPELINE_NAMES for role in pipeline_named(name).roles})
AT_HOME = ("runtime/pipelines/*/*", "export/reference/*/*")
"""A pipeline's folders; `promptable` is what pipelines with a promptable model share."""

MODELS = ("export/models/*", "export/models/*/family.py", "export/tiny/*")
"""Where a name stands that is a stage's too, of a role (`dino`) or of a file of trained weights (`escnet`)."""

WEIGHTS = {path.stem for path in ROOT.glob("export/models/miniature/*.safetensors")}


@pytest.mark.parametrize("stage", STAGES)
def test_no_file_outside_a_pipelines_folders_names_one_of_its_stages(stage):
    quoted = re.compile(rf"""["']{stage}["']""")
    for folder in FOLDERS:
        for path in files(folder):
            relative = path.relative_to(ROOT)
            at_home = any(relative.match(pattern) for pattern in AT_HOME)
            is_model = stage in {*ROLES, *WEIGHTS} and any(relative.match(pattern) for pattern in MODELS)
            if not at_home and not is_model:
                code = "\n".join(line for line in path.read_text().splitlines() if ">>>" not in line)  # examples
                assert not quoted.search(code), f"{relative} names the stage {stage}"


def test_the_pipelines_that_the_test_knows_are_all_there_are():
    from importlib.metadata import entry_points

    ours = {point.name for point in entry_points(group=PIPELINES) if point.value.startswith("ovdeploy.")}
    assert ours == set(PIPELINE_NAMES)
