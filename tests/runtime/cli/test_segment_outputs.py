"""What `ovdeploy segment` does where results cannot be written, and with what killed runs left."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.photo.sources import expand
from support.other_user import as_nobody, on_small_disk, open_to_all
from support.samples import draw_photo, random_vocabulary

IMPORTS = """
import sys
import numpy, onnxruntime, PIL.Image, PIL.PngImagePlugin, rich.console
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.cli.segment import segment
import ovdeploy.runtime.backends.onnxruntime.session, ovdeploy.runtime.pipelines.training_free.pipeline
def run():
    try:
        segment(sys.argv[2:], prog_name="segment")
    except SystemExit as end:
        print("code", end.code)
"""


@pytest.fixture
def folder(tmp_path, micro_bundle):
    shutil.copytree(micro_bundle, tmp_path / "bundle")
    (tmp_path / "photos").mkdir()
    for index in range(6):
        noise = np.random.default_rng(index).integers(0, 256, (90, 120, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / "photos" / f"p{index}.png")
    random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding).save(tmp_path / "words.npz")
    return tmp_path


def arguments(folder, output):
    given = (folder / "photos", "--bundle", folder / "bundle", "--vocabulary", folder / "words.npz")
    return (*given, "--output", output, "--backend", "onnxruntime", "--workers", 1)


def test_a_read_only_folder_is_found_before_the_first_photo(folder):
    (folder / "out").mkdir()
    open_to_all(folder / "photos" / "p0.png")
    told = as_nobody(IMPORTS, "run()", "", *arguments(folder, folder / "out" / "new"), closed=[folder / "out"])
    assert "Permission denied" in told and "code 1" in told
    assert "engines:" not in told, "no engine was opened"
    assert list((folder / "out").iterdir()) == []


def test_a_disk_that_fills_up_ends_the_run_with_the_photos_name_and_what_is_there_is_whole(folder):
    """Room for the results of some photos, not of all: the first missing one is named."""
    inside = "import os; out = sys.argv[1]; sys.argv[-5] = out\n"
    count = "print('there', *sorted(f'{n}:{os.path.getsize(os.path.join(out, n))}' for n in os.listdir(out)))\n"
    keep = f"import shutil; shutil.copytree(out, {str(folder / 'kept')!r})\n"
    told = on_small_disk(IMPORTS, f"{inside}run()\n{count}{keep}", folder / "disk", 160_000, *arguments(folder, "OUT"))
    assert "code 1" in told and "The run ends here" in told
    errors = [line for line in told.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, "and not one for each photo that follows"
    kept = sorted(path.name for path in (folder / "kept").iterdir())
    done = sorted({name.split(".")[0] for name in kept if name.endswith(".json")})
    failed = f"p{len(done)}.png"
    assert 0 < len(done) < 6 and failed in errors[0] and done == [f"p{index}" for index in range(len(done))]
    assert not [name for name in kept if name.startswith(".")], "nothing half-written"
    for name in done:
        assert Image.open(folder / "kept" / f"{name}.mask.png").size == (120, 90)
        Image.open(folder / "kept" / f"{name}.overlay.png").load()
        json.loads((folder / "kept" / f"{name}.json").read_text(encoding="utf-8"))


def test_leftovers_and_hidden_files_are_no_photos(folder):
    photos = folder / "photos"
    for name in (".p0.overlay-x1.png", "._p0.png", ".ovdeploy-0-1-x.partial"):
        shutil.copy(photos / "p0.png", photos / name)
    assert [path.name for path in expand([str(photos)])] == [f"p{index}.png" for index in range(6)]
    assert [path.name for path in expand([f"{photos}/*"])] == [f"p{index}.png" for index in range(6)]
    assert [path.name for path in expand([f"{folder}/**/*.png"])] == [f"p{index}.png" for index in range(6)]
    named = photos / "._p0.png"
    assert list(expand([str(named)])) == [named], "who names one means it"


def invoke(*given):
    result = CliRunner().invoke(main, ["segment", *map(str, given)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def test_a_warning_is_told_once_and_stands_in_every_photos_json(folder):
    for index in range(6):
        dark = (draw_photo((40, 60), seed=index)[..., 0].astype(np.uint16) << 4) | 0x800
        Image.fromarray(dark).save(folder / "photos" / f"p{index}.png")
    result = invoke(*arguments(folder, folder / "out"), "--json")
    assert result.exit_code == 0
    assert result.stderr.count("warning: a photo has room for 16 bits") == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert len(lines) == 6 and all("uses 12" in line["warnings"][0] for line in lines)
    assert json.loads((folder / "out" / "p3.json").read_text(encoding="utf-8"))["warnings"] == lines[3]["warnings"]


def test_python_can_make_errors_of_warnings(folder):
    Image.fromarray(np.full((40, 60), 4095, np.uint16)).save(folder / "photos" / "p0.png")
    code = "import sys; from ovdeploy.runtime import load_photo; load_photo(sys.argv[1])"
    strict = [sys.executable, "-W", "error", "-c", code, str(folder / "photos" / "p0.png")]
    assert subprocess.run(strict, capture_output=True).returncode != 0
    assert subprocess.run([sys.executable, *strict[3:]], capture_output=True).returncode == 0


def test_a_library_that_a_kind_of_answer_needs_is_asked_for_before_the_first_photo(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it fails
    done = CliRunner().invoke(
        main, ["segment", str(folder), "--bundle", "nowhere", "--classes", "a", "--save", "table"]
    )
    assert done.exit_code == 1 and "table" in done.stderr and "pip install" in done.stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--classes", "names.txt"], "--classes-file names.txt"),
        (["--classes", "there"], "--classes-file there"),
        (["--classes", "saved.npz"], "--vocabulary saved.npz"),
        (["--classes", "a, b", "--classes-file", "names.txt"], "either --classes or --classes-file"),
    ],
)
def test_a_path_is_not_taken_for_a_class(folder, monkeypatch, words, told):
    monkeypatch.chdir(folder)
    (folder / "there").write_text("cup\ntable\n")
    result = invoke("photos", "--bundle", "bundle", *words)
    assert result.exit_code == 2 and told in result.stderr


def test_classes_come_from_a_file(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / "names.txt").write_bytes("\ufeffcup, mug\r\n\r\ntisch, Stühle\r\n# three\r\n".encode())
    result = invoke("photos/p0.png", "--bundle", "bundle", "--classes-file", "names.txt", "--json")
    assert result.exit_code == 0, result.stderr
    assert [entry["name"] for entry in json.loads(result.stdout)["classes"]] == ["cup", "tisch", "# three"]


@pytest.mark.parametrize(
    ("content", "told"), [(b"\n \n", "names no classes"), (b"caf\xe9", "UTF-8"), (None, "cannot be read")]
)
def test_a_file_without_classes_is_refused(folder, monkeypatch, content, told):
    monkeypatch.chdir(folder)
    if content is not None:
        (folder / "names.txt").write_bytes(content)
    result = invoke("photos/p0.png", "--bundle", "bundle", "--classes-file", "names.txt")
    assert result.exit_code == 1 and told in result.stderr
