"""What the first answers of the commands import: nothing in vain. `measure/start_up.py` measures the seconds."""

from __future__ import annotations

import ast
import importlib
import json
import os
import subprocess
import sys

import pytest

import ovdeploy.runtime as runtime
from ovdeploy.runtime.backends.tensorrt.libraries import LIBRARIES
from ovdeploy.runtime.backends.tensorrt.options import BUILDERS
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.cli.group import ELSEWHERE, SUMMARIES
from support.samples import ROOT

HEAVY = {
    "numpy",
    "cv2",
    "PIL",
    "msgspec",
    "rich",
    "tokenizers",
    "ftfy",
    "regex",
    "onnx",
    "onnxruntime",
    "openvino",
    "torch",
}
CODE = """
import contextlib, io, json, sys
from {module} import main
with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
    main({arguments})
print(json.dumps(sorted(sys.modules)))
"""


def imported(code: str) -> set[str]:
    """The modules that a fresh Python has after some code."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("module", ["ovdeploy.runtime.cli", "ovdeploy.export.commands"])
@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_no_library(module, option):
    code = f"import sys; sys.argv = ['x', {option!r}]\n" + CODE.format(module=module, arguments="")
    assert {name.split(".")[0] for name in imported(code)} & HEAVY == set()


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_version_and_help_import_no_subcommand(option):
    found = imported(CODE.format(module="ovdeploy.runtime.cli", arguments=f"[{option!r}]"))
    ours = {name for name in found if name.startswith("ovdeploy.runtime.cli.")}
    assert ours == {"ovdeploy.runtime.cli.group", "ovdeploy.runtime.cli.failing"}


def test_importing_the_package_imports_no_library():
    found = imported("import json, sys, ovdeploy.runtime\nprint(json.dumps(sorted(sys.modules)))")
    assert {name.split(".")[0] for name in found} & HEAVY == set()


def test_every_command_of_this_package_has_a_summary():
    ours = {name for name, point in main.found.items() if point.value.startswith("ovdeploy.")}
    assert set(SUMMARIES) == ours
    assert not set(ELSEWHERE) & ours


def test_the_builders_are_the_libraries():
    assert tuple(LIBRARIES) == BUILDERS


def test_every_public_name_has_a_home_that_type_checkers_see_too():
    """`TYPE_CHECKING` says the same as the table that names are imported by."""
    tree = ast.parse((ROOT / "runtime" / "__init__.py").read_text())
    branch = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        node.module: {alias.name for alias in node.names} for node in branch.body if isinstance(node, ast.ImportFrom)
    }
    assert seen == {module: set(names) for module, names in runtime._HOMES.items()}
    assert sorted(name for names in seen.values() for name in names) == runtime.__all__


def test_names_and_modules_of_the_package_are_there_when_asked_for():
    assert set(runtime.__all__) <= set(dir(runtime))
    assert runtime.errors is importlib.import_module("ovdeploy.runtime.errors")
    with pytest.raises(AttributeError, match="has no attribute 'Segmentor'"):
        _ = runtime.Segmentor
