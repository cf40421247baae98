"""The commands and paths that are vile: one costs itself alone, and is told in a line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from ovdeploy.runtime.scenes import draw_scene

COMMAND = (sys.executable, "-c", "from ovdeploy.runtime.cli import main; main()")


def run(*arguments, folder, **environment):
    return subprocess.run(
        [*COMMAND, *map(os.fsencode, map(str, arguments))], capture_output=True, text=True, cwd=folder, timeout=120,
        errors="surrogateescape", env={**os.environ, "OVDEPLOY_CACHE": str(folder / "cache"), **environment},
    )  # fmt: skip


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(draw_scene(1).photo).resize((90, 60)).save(folder / "a.png")
    shutil.copy(folder / "a.png", os.fsencode(folder) + b"/b\xff.png")
    os.mkfifo(folder / "c.png")
    (folder / "d.png").symlink_to(folder / "d.png")
    (folder / "e.png").mkdir()
    (folder / "f.png").write_bytes(b"no photo")
    return folder


def test_a_folder_of_vile_photos_is_segmented_but_for_them(micro_bundle, photos, tmp_path):
    done = run("segment", photos, "n" * 300, "z/" * 3000, "/dev/zero", "--bundle", micro_bundle, "--classes",
               "cup, table", "--json", folder=tmp_path)  # fmt: skip
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(lines) == 8, "one for each photo; a folder that is called as one is searched"
    sound = [line["image"] for line in lines if "error" not in line]
    assert [os.fsencode(image).rpartition(b"/")[2] for image in sound] == [b"a.png", b"b\xff.png"]
    assert done.returncode == 1 and done.stderr.count("error:") == 6 and "Traceback" not in done.stderr
    assert (tmp_path / "ovdeploy-out" / "a.mask.png").is_file()


def test_without_a_home_the_commands_run(micro_bundle, photos, tmp_path):
    code = "import os, pwd; os.environ.pop('HOME', 0); pwd.getpwuid = lambda uid: (_ for _ in ()).throw(KeyError());"
    arguments = ["segment", str(photos / "a.png"), "--bundle", str(micro_bundle), "--classes", "cup, table"]
    arguments += ["--backend", "onnxruntime"]  # OpenVINO looks for a home itself
    code += f"from ovdeploy.runtime.cli import main; main({arguments!r})"
    environment = {**os.environ, "OVDEPLOY_CACHE": str(tmp_path / "cache")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr


def test_threads_beyond_the_bound_are_refused_with_it(micro_bundle, photos, tmp_path):
    done = run("segment", photos, "--bundle", micro_bundle, "--threads", "100000", folder=tmp_path)
    assert done.returncode == 2 and "1<=x<=256" in done.stderr


@pytest.mark.parametrize("option", ["--vocabulary", "--parameters"])
def test_a_fifo_for_an_option_is_told_in_a_line(micro_bundle, photos, tmp_path, option):
    arguments = [] if option == "--vocabulary" else ["--classes", "cup"]
    done = run("segment", photos, "--bundle", micro_bundle, option, photos / "c.png", *arguments, folder=tmp_path)
    assert (done.returncode == 1 and done.stderr.startswith("error:")) or "\nerror:" in done.stderr
    assert "FIFO" in done.stderr and "Traceback" not in done.stderr
