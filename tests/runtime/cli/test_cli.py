"""The `ovdeploy` command: what it writes, what it prints, and how it ends."""

import json
import shutil
import threading

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.runtime import Bundle, Parameters
from ovdeploy.runtime.cli import main
from ovdeploy.runtime.cli.record import RECORD
from ovdeploy.runtime.photo.sources import expand
from ovdeploy.runtime.pictures.legend import LEAST_WIDTH
from support.bundles import engine_file, write_data
from support.samples import draw_photo, random_vocabulary

HW = (40, 60)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Photos in two folders, a file that is none, and a vocabulary; it is the current directory."""
    monkeypatch.chdir(tmp_path)
    for index, name in enumerate(["one/cat.png", "one/dog.jpg", "two/cat.png"]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(draw_photo(HW, seed=index)).save(tmp_path / name)
    (tmp_path / "bad.png").write_bytes(b"no image")
    (tmp_path / "one" / "notes.txt").write_text("not a photo")
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.fixture
def segment(folder, micro_bundle):
    """Runs `ovdeploy segment` on the tiny bundle with a saved vocabulary, whose third class is the first of all."""
    random_vocabulary(Bundle.load(micro_bundle).manifest.dimensions.embedding).save(folder / "words.npz")

    def run(*arguments, words=("--vocabulary", "words.npz")):
        return invoke("segment", *arguments, "--bundle", micro_bundle, *words, "--output", "out")

    return run


def invoke(*arguments):
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def written(folder):
    """The results, without the record of them."""
    there = (folder / "out").iterdir() if (folder / "out").exists() else ()
    return sorted(path.name for path in there if path.name != RECORD)


def three(*names):
    return sorted(f"{name}.{kind}" for name in names for kind in ("json", "mask.png", "overlay.png"))


def test_a_photo_becomes_an_overlay_a_mask_and_json(segment, folder):
    result = segment("one/cat.png")
    assert result.exit_code == 0
    assert result.stdout == "" and "1 of 1 photos" in result.stderr
    assert written(folder) == three("cat")
    mask = np.asarray(Image.open(folder / "out" / "cat.mask.png"))
    assert mask.shape == HW and mask.max() < 3
    overlay = Image.open(folder / "out" / "cat.overlay.png")
    assert overlay.width == LEAST_WIDTH and overlay.height > HW[0], "with a legend below"
    told = json.loads((folder / "out" / "cat.json").read_text(encoding="utf-8"))
    assert told["size"] == {"height": HW[0], "width": HW[1]}
    assert [entry["name"] for entry in told["classes"]] == ["cup", "table", "spoon"]
    assert [entry["pixels"] for entry in told["classes"]] == np.bincount(mask.reshape(-1), minlength=3).tolist()


@pytest.mark.parametrize(
    ("images", "names"),
    [
        (["one/cat.png", "one/dog.jpg"], ["cat", "dog"]),
        (["one"], ["cat", "dog"]),
        (["o*/*.[pj]*g"], ["cat", "dog"]),
        (["**/dog.*"], ["dog"]),
        (["one", "two"], ["cat.png", "cat.png-2", "dog"]),
        (["*/cat.png"], ["cat.png", "cat.png-2"]),
        (["one/cat.png", "one/cat.png"], ["cat.png", "cat.png-2"]),
    ],
)
def test_files_folders_and_globs_are_all_written_under_names_of_their_own(segment, folder, images, names):
    result = segment(*images)
    assert result.exit_code == 0, result.stderr
    assert written(folder) == three(*names)


def test_photos_of_one_stem_do_not_overwrite_each_other(segment, folder):
    assert segment("one/cat.png", "two/cat.png", "--json").exit_code == 0
    first, second = (Image.open(folder / "out" / f"{name}.overlay.png") for name in ("cat.png", "cat.png-2"))
    assert first.tobytes() != second.tobytes(), "overlays show the photos, and these differ"


def test_a_name_with_the_signs_of_globs_is_taken_as_it_is(folder):
    (folder / "one" / "a[1]*.png").write_bytes(b"")
    assert [path.name for path in expand([str(folder / "one" / "a[1]*.png")])] == ["a[1]*.png"]


def test_photos_that_cannot_be_read_do_not_stop_the_others(segment, folder):
    result = segment("bad.png", "one/cat.png", "missing.png", "nothing*.png", "one/dog.jpg")
    assert result.exit_code == 1
    assert written(folder) == three("cat", "dog")
    for words in ("bad.png: not a", "missing.png: no such photo", "nothing*.png: no such photo", "2 of 5"):
        assert words in result.stderr


def test_a_folder_without_photos_is_told_with_what_was_looked_for(segment):
    result = segment("empty")
    assert result.exit_code == 1
    assert "empty: no photos" in result.stderr and ".jpg" in result.stderr


def test_json_is_one_line_for_each_photo_and_nothing_else(segment, folder):
    result = segment("one/cat.png", "bad.png", "two/cat.png", "--json")
    assert result.exit_code == 1
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["image"] for line in lines] == ["one/cat.png", "bad.png", "two/cat.png"]
    failed = lines.pop(1)["error"]
    assert failed["type"] == "PhotoError" and failed["message"].startswith("bad.png: ") and failed["exit_code"] == 1
    assert [line["output"] for line in lines] == ["out/cat.png", "out/cat.png-2"]
    for line in lines:
        saved = json.loads((folder / f"{line['output']}.json").read_text(encoding="utf-8"))
        assert {key: line[key] for key in saved} == saved
    (error,) = result.stderr.splitlines()
    assert error.startswith("error: bad.png: ")


def test_classes_are_embedded_with_their_synonyms(segment, folder):
    result = segment("one/cat.png", "--json", words=("--classes", "cup; mug , table,テーブル"))
    assert result.exit_code == 0, result.stderr
    assert [entry["name"] for entry in json.loads(result.stdout)["classes"]] == ["cup", "table", "テーブル"]


def test_set_changes_parameters(segment):
    assert json.loads(segment("one/cat.png", "--json").stdout)["regions"]
    for value in ("false", "FALSE"):
        assert json.loads(segment("one/cat.png", "--json", "--set", f"refine={value}").stdout)["regions"] == []
    assert segment("one/cat.png", "--set", "stride = 32", "--set", "logit_scale=5e1").exit_code == 0


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("strid=3", ["'strid'", "Did you mean 'stride'?", *Parameters.__struct_fields__]),
        ("stride=0", ["stride", ">= 1"]),
        ("stride=1.5", ["stride", "int"]),
        ("crop=64", ["crop", "export-engines"]),
        ("stride=50", ["stride=50", "multiple"]),
    ],
)
def test_a_parameter_that_cannot_be_set_ends_with_1_and_what_is_valid(segment, folder, setting, told):
    before = set(threading.enumerate())
    result = segment("one/cat.png", "--set", setting)
    assert result.exit_code == 1
    for thread in set(threading.enumerate()) - before:
        thread.join(10)
        assert not thread.is_alive(), "the workers and the bar end with the command"
    assert [words for words in told if words not in result.stderr] == []
    assert written(folder) == []


@pytest.mark.parametrize("setting", ["stride", "", "=3", "stride=", "stride=wide", "stride=[1]"])
def test_a_setting_that_is_none_ends_with_2(segment, setting):
    result = segment("one/cat.png", "--set", setting)
    assert result.exit_code == 2
    assert "--set" in result.stderr or "NAME=VALUE" in result.stderr or "expected a number" in result.stderr


BOTH = ("--classes", "cup", "--vocabulary", "words.npz")


@pytest.mark.parametrize("words", [(), BOTH, ("--classes", "")])
def test_words_come_from_exactly_one_place(segment, words):
    result = segment("one/cat.png", words=words)
    assert result.exit_code == 2
    assert "--classes" in result.stderr and "--vocabulary" in result.stderr


@pytest.mark.parametrize("words", [("--classes", "cup,,table"), ("--classes", "cup,CUP"), ("--vocabulary", "bad.png")])
def test_words_that_cannot_be_used_end_with_1(segment, folder, words):
    result = segment("one/cat.png", words=words)
    assert result.exit_code == 1 and "error: " in result.stderr and written(folder) == []


@pytest.mark.parametrize("words", [("--classes", "cup, table"), ("--vocabulary", "words.npz")])
def test_background_makes_the_first_class_one_whatever_it_is_called(segment, words):
    likely = ("--set", "probability_threshold=1.0", "--set", "refine=false", "--json")
    refused = segment("one/cat.png", *likely, words=words)
    assert refused.exit_code == 1 and "background" in refused.stderr
    result = segment("one/cat.png", *likely, "--background", words=words)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["classes"][0]["share"] > 0.9


def test_inspect_prints_every_stage_with_its_tensors(micro_bundle):
    result = invoke("inspect", micro_bundle)
    manifest = Bundle.load(micro_bundle).manifest
    assert result.exit_code == 0
    for stage, entry in manifest.stages.items():
        for name in (stage, *entry.contract.input_names, *entry.contract.output_names):
            assert name in result.stdout
    assert "micro" in result.stdout and "random:1" in result.stdout and "fp32" in result.stdout
    told = json.loads(invoke("inspect", micro_bundle, "--json").stdout)
    assert told == json.loads((micro_bundle / "bundle.json").read_text(encoding="utf-8"))


def test_inspect_of_a_damaged_bundle_ends_with_1_unless_it_shall_not_verify(micro_bundle, tmp_path):
    path = shutil.copytree(micro_bundle, tmp_path / "bundle")
    engine_file(path, "head").write_bytes(b"damaged")
    for arguments in ((path,), (path, "--json"), (tmp_path,)):
        result = invoke("inspect", *arguments)
        assert result.exit_code == 1 and result.stderr.startswith("error: ")
        assert bool(result.stdout) == ("--json" in arguments), "with --json the error is JSON too"
    assert engine_file(path, "head").name in invoke("inspect", path).stderr
    assert invoke("inspect", path, "--no-verify").exit_code == 0


def test_doctor_tells_what_works(micro_bundle):
    assert invoke("doctor").exit_code == 0
    told = json.loads(invoke("doctor", "--json").stdout)
    works = {check["what"]: check["works"] for check in told["checks"]}
    assert works["backend onnxruntime"] and works["backend openvino"] and "FP32" in told["OpenVINO computes in"]
    assert told["ovdeploy"] in invoke("--version").stdout


@pytest.mark.parametrize("command", sorted(main.found))
def test_help_gives_an_example_or_says_what_the_command_tells(command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f"ovdeploy {command} " in result.stdout or command in ("inspect", "doctor")
    assert "exit code" in result.stdout, "a script must know what it can rely on"
    assert command in invoke("--help").stdout


def test_an_unknown_command_ends_with_2():
    assert invoke("segmnt").exit_code == 2


def test_an_empty_folder_does_not_stop_the_others(segment, folder):
    result = segment("empty", "one/cat.png")
    assert result.exit_code == 1 and "empty: no photos" in result.stderr
    assert written(folder) == three("cat")


def test_results_beside_the_photos_are_not_segmented_again(folder):
    (folder / "two" / "cat.overlay.png").write_bytes((folder / "two" / "cat.png").read_bytes())
    assert [path.name for path in expand(["two"])] == ["cat.png"]


def test_what_looks_like_markup_is_printed_as_it_is(micro_bundle, folder, segment):
    shutil.copytree(micro_bundle, folder / "b")
    data = json.loads((folder / "b" / "bundle.json").read_text())
    data["recipe"]["description"] = "a [/bad] [red]word"
    write_data(folder / "b", data)
    assert "a [/bad] [red]word" in invoke("inspect", "b", "--no-verify").stdout
    shutil.copy(folder / "one" / "cat.png", folder / "one" / "a[b].png")
    assert segment("one").exit_code == 0
    assert "a[b].mask.png" in written(folder)


def test_what_fails_for_every_photo_is_told_once(segment, folder):
    result = segment("one", "two", "--set", "stride=50")
    assert result.exit_code == 1 and result.stderr.count("multiple") == 1
    assert written(folder) == []
