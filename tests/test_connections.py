"""No connection that was not asked for: every command, and Python's ways in, where sockets are forbidden.

What the nets hold and what slips through them stands in `support/quiet.py`.
"""

from __future__ import annotations

import shutil
from importlib.metadata import entry_points
from importlib.util import find_spec

import pytest
from PIL import Image

from support.quiet import SIGSYS, run_quietly
from support.samples import draw_photo

COMMAND = "import sys; from ovdeploy.runtime.cli import main; main(sys.argv[1:])"
EXPORT = "import sys; from ovdeploy.export.commands import export_engines; export_engines(sys.argv[1:])"
WORDS = ("--classes", "cup; mug, table")
QUICK = (*WORDS, "--ranges", "minmax", "--search", "stage")
SCENES = ("--dataset", "scenes", "--photos", "2")

ARGUMENTS = {
    "segment": ("photos", "--bundle", "bundle", *WORDS),
    "batch": ("photos", "table", "--bundle", "bundle", *WORDS),
    "prompt": ("photos/0.png", "--bundle", "bundle", "--point", "10,10"),
    "everything": ("photos/0.png", "--bundle", "bundle", "--points-per-side", "2"),
    "track": ("photos", "--bundle", "clips", "--point", "10,10", "--no-overlay"),
    "inspect": ("bundle",),
    "lint": ("bundle",),
    "doctor": (),
    "scenes": ("--output", "drawn"),
    "sign": ("bundle", "--key", "none.pem"),
    "build-plans": ("bundle",),
    "profile": ("bundle", "--stages", "head", "--iterations", "1"),
    "bench": ("bundle", "--rounds", "1", *WORDS),
    "evaluate": ("bundle", *SCENES, "--against", "colour", "--worst", "0"),
    "tune": ("bundle", *SCENES, "--trials", "2", "--cache", "kept"),
    "layers": ("bundle", "--images", "photos"),
    "calibrate": (*("bundle", "--images", "photos", "--photos", "1", "--gate-photos", "1", "--rounds", "1"), *QUICK),
    "parity": ("bundle", "--backend", "onnxruntime"),
}
"""How each command is called."""

REFUSED = {"build-plans": 1, "calibrate": 3, "sign": 1}
"""Exit codes that are no fault here: no GPU to build plans on, INT8 that the gate finds slower, no key to sign with."""

NEEDS_TORCH = ("parity",)


@pytest.fixture
def folder(complete_bundle, micro_video_bundle, tmp_path):
    shutil.copytree(complete_bundle, tmp_path / "bundle")
    (tmp_path / "clips").symlink_to(micro_video_bundle)
    (tmp_path / "photos").mkdir()
    for index in range(3):
        Image.fromarray(draw_photo((60, 80), seed=index)).save(tmp_path / "photos" / f"{index}.png")
    return tmp_path


def assert_quiet(came):
    assert came.code >= 0, f"ended by signal {-came.code}: {came.told}"
    assert came.heard == ""
    assert came.home == [], "nothing is left in the home folder but the cache, which lies elsewhere here"
    assert "Traceback" not in came.told, came.told


def test_the_arguments_are_those_of_all_commands():
    ours = {p.name for p in entry_points(group="ovdeploy.commands") if p.value.startswith("ovdeploy.")}
    assert set(ARGUMENTS) == ours


@pytest.mark.parametrize("command", ARGUMENTS)
def test_no_command_opens_a_connection(command, folder):
    if command in NEEDS_TORCH:
        pytest.importorskip("torch", reason="PyTorch is not installed: nothing of the build box is tried")
    came = run_quietly(COMMAND, folder, command, *ARGUMENTS[command])
    assert_quiet(came)
    assert came.code in (0, REFUSED.get(command, 0)), came.told


def test_an_export_without_published_weights_opens_no_connection(tmp_path):
    pytest.importorskip("torch", reason="PyTorch is not installed: nothing of the build box is tried")
    came = run_quietly(EXPORT, tmp_path, "micro", "--output", "made", "--stages", "head,dino")
    assert_quiet(came)
    assert (tmp_path / "made" / "bundle.json").is_file(), came.told


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_loading_and_segmenting_in_python_opens_no_connection(backend, folder):
    """Also not a while later, or at the end."""
    pytest.importorskip(backend)
    came = run_quietly(
        "import sys, time\n"
        "from ovdeploy.runtime import Segmenter\n"
        "with Segmenter.load('bundle', backend=sys.argv[1]) as s:\n"
        "    s.segment('photos/0.png', s.vocabulary(['cup; mug', 'table']))\n"
        "time.sleep(3)\n",
        folder,
        backend,
    )
    assert_quiet(came)
    assert came.code == 0, came.told


def test_the_nets_catch_python_code_and_native_code(tmp_path):
    looked = run_quietly("import socket; socket.getaddrinfo('localhost', 80)", tmp_path)
    assert "socket.getaddrinfo" in looked.heard
    assert run_quietly("import socket; socket.socket()", tmp_path).code == -SIGSYS
    native = run_quietly("import ctypes; print(ctypes.CDLL(None).socket(10, 1, 0), 'no socket')", tmp_path)
    assert native.code == -SIGSYS and "no socket" not in native.told
    child = run_quietly(
        "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import socket; socket.gethostbyname(\"x\")'])",
        tmp_path,
    )
    assert "socket.gethostbyname" in child.heard
    assert run_quietly("import socket; socket.socket(socket.AF_UNIX)", tmp_path).code == 0


def test_the_nets_catch_what_openvino_does_by_itself(tmp_path):
    pytest.importorskip("openvino")
    if find_spec("openvino_telemetry") is None:
        pytest.skip("this OpenVINO came without its telemetry")
    came = run_quietly("import openvino", tmp_path)
    assert came.heard and came.home, "else the tests above prove nothing about it"


def test_the_nets_catch_what_onnx_runtime_does_by_itself(tmp_path):
    """Its thread calls only after half a minute; its database in the cache folder is there at once."""
    runtime = pytest.importorskip("onnxruntime")
    if tuple(map(int, runtime.__version__.split(".")[:2])) < (1, 32):
        pytest.skip("this ONNX Runtime came without its telemetry")
    came = run_quietly("import onnxruntime", tmp_path)
    assert came.home, "else the tests above prove nothing about it"


def test_a_user_who_asks_for_telemetry_gets_it(tmp_path):
    """The libraries are left as they come, and so are switches that the user has set."""
    told = run_quietly(
        "import os, ovdeploy.runtime; print(os.environ.get('ORT_DISABLE_TELEMETRY'))", tmp_path, OVDEPLOY_TELEMETRY="1"
    )
    assert told.told.strip() == "None"
    kept = run_quietly(
        "import os, ovdeploy.runtime; print(os.environ['ORT_DISABLE_TELEMETRY'])", tmp_path, ORT_DISABLE_TELEMETRY="0"
    )
    assert kept.told.strip() == "0"


def test_openvinos_telemetry_can_be_imported_by_others_afterwards(tmp_path):
    pytest.importorskip("openvino_telemetry", reason="this OpenVINO came without its telemetry")
    came = run_quietly(
        "from ovdeploy.runtime.backends.openvino.session import import_openvino\n"
        "assert import_openvino().convert_model\nimport openvino_telemetry\nprint('there')",
        tmp_path,
    )
    assert came.code == 0 and "there" in came.told and came.home == [] and came.heard == ""
