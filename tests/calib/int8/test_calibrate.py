"""The whole of a calibration, on the smallest models."""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ovdeploy.calib.int8.calibrate import Request, calibrate
from ovdeploy.calib.int8.command import REFUSED
from ovdeploy.calib.int8.command import calibrate as command
from ovdeploy.calib.int8.report import PLOT, REPORT
from ovdeploy.runtime import Bundle, Segmenter
from ovdeploy.runtime.cli.inspect import inspect
from ovdeploy.runtime.errors import BundleError, PhotoError, RecipeError
from ovdeploy.runtime.recipe.int8 import Int8Settings
from ovdeploy.runtime.reporting import silent
from support.damage import cut, in_place_of_files, some
from support.samples import draw_photo

CLASSES = ["cup", "table"]
MADE = {"dino", "clip_image", "sam_encoder"}
QUICK = Int8Settings(
    keep=(), smoothing=(0.5,), ranges=("minmax",), search="stage", weight_bits=(8,), photos=2, gate_photos=2, cases=1,
    cosine=0.0, labels=0.0,
)  # fmt: skip


class Clock:
    """Runs that take turns, FP32 first, take these many seconds."""

    def __init__(self, *seconds: float) -> None:
        self._steps = itertools.cycle([step for run in seconds for step in (0.0, run)])
        self._now = 0.0

    def __call__(self) -> float:
        self._now += next(self._steps)
        return self._now


def faster():
    return Clock(2.0, 1.0)


def slower():
    return Clock(1.0, 2.0)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for seed in range(6):
        Image.fromarray(draw_photo((96, 120), seed)).save(folder / f"{seed}.png")
    return folder


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """Every test begins anew."""
    monkeypatch.setenv("OVDEPLOY_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def request_of(bundle: Path, photos: Path, output: Path, **changes) -> Request:
    settings = msgspec.structs.replace(QUICK, **changes.pop("settings", {}))
    given = {"now": faster(), "rounds": 1, "parameters": {"refine": False}} | changes
    return Request(
        bundle=Bundle.load(bundle), images=sorted(photos.glob("*.png")), output=output,
        report=output.with_name("report"), settings=settings, classes=CLASSES, **given,
    )  # fmt: skip


def run(request: Request, tell=silent):
    return calibrate(request, tell)


@pytest.fixture(scope="module")
def accepted(micro_bundle, photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("accepted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVDEPLOY_CACHE", str(folder / "cache"))
        assert run(request_of(micro_bundle, photos, folder / "int8")).accepted
    return folder / "int8"


def test_a_bundle_holds_int8_beside_float_and_says_how_it_came_about(accepted):
    bundle = Bundle.load(accepted)
    told = bundle.manifest.calibration
    assert told.photos == 4 and not told.kept_anyway and told.gate.refused == ()
    assert told.gate.speedups["photo"] == 2.0 and set(told.stages) == {"dino", "clip_image", "sam_encoder"}
    for name, stage in bundle.manifest.stages.items():
        assert "fp32" in stage.engines
        assert ("int8" in stage.engines) == (name in MADE)
        assert stage.substitutes == ({} if name in MADE else {"int8": "fp32"})
    layer = told.stages["dino"].layers[0]
    assert layer.precision == "int8" and layer.limit == pytest.approx(layer.largest) and layer.error > 0
    assert layer.clipped == 0.0, "min-max clips nothing"
    assert {path.name for path in accepted.with_name("report").iterdir()} == {REPORT, PLOT}
    assert json.loads((accepted.with_name("report") / REPORT).read_text())["gate"]["photos"] == 2


def test_the_precision_int8_is_selectable_and_shown(accepted, photo):
    with Segmenter.load(accepted, precision="int8", parameters={"refine": False}) as segmenter:
        mask = segmenter.segment(photo, segmenter.vocabulary(CLASSES)).mask
    with Segmenter.load(accepted, parameters={"refine": False}) as segmenter:
        expected = segmenter.segment(photo, segmenter.vocabulary(CLASSES)).mask
    assert mask.shape == expected.shape and (mask == expected).mean() > 0.5, "random weights, yet the same network"
    told = CliRunner().invoke(inspect, [str(accepted)])
    assert told.exit_code == 0 and "int8 calibrated on 4 photos" in told.output and "head" in told.output


def test_a_bundle_that_was_accepted_passes_lint_and_loads_after_export(accepted):
    from ovdeploy.runtime.cli.lint import lint

    found = CliRunner().invoke(lint, [str(accepted), "--json"])
    quantised = [f for f in json.loads(found.output) if "int8" in json.dumps(f)] if found.output.strip() else []
    assert not quantised, quantised


def test_stages_that_are_slower_stay_float_and_with_none_left_nothing_is_written(micro_bundle, photos, tmp_path):
    outcome = run(request_of(micro_bundle, photos, tmp_path / "int8", now=slower()))
    assert not outcome.accepted and "no stage is faster" in outcome.calibration.gate.refused[0]
    assert "0.50 times as fast" in outcome.calibration.stages["dino"].reason
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cache", "report"]


def test_whatever_happens_to_what_is_kept_the_same_engines_come_of_it(micro_bundle, photos, tmp_path, cache):
    """Every file is damaged, each in another way; then all are cut, also while the calibration goes on."""
    first = run(request_of(micro_bundle, photos, tmp_path / "first"))
    ways = itertools.cycle([*in_place_of_files().values(), *(damage for _, damage in some(9))])
    files = sorted(path for path in (cache / "calibrate").rglob("*") if path.is_file())
    assert len(files) > 20
    for path, damage in zip(files, ways, strict=False):
        damage(path)
    second = run(request_of(micro_bundle, photos, tmp_path / "second"))

    def tell(event, **about):
        for path in (cache / "calibrate").rglob("*.arrays"):
            if path.is_file() and path.stat().st_size:
                cut(0.5)(path)

    third = run(request_of(micro_bundle, photos, tmp_path / "third"), tell)
    assert first.accepted and first.calibration == second.calibration == third.calibration
    engines = [{path.name: path.read_bytes() for path in (tmp_path / name).glob("*.int8.*.onnx")}
               for name in ("first", "second", "third")]  # fmt: skip
    assert engines[0] and engines[0] == engines[1] == engines[2]


def test_one_stage_that_is_slower_stays_float(micro_bundle, photos, tmp_path):
    now = Clock(2.0, 1.0, 1.0, 2.0, 2.0, 1.0, 2.0, 1.0)  # dino, clip_image, sam_encoder, the photo
    assert run(request_of(micro_bundle, photos, tmp_path / "int8", now=now)).accepted
    bundle = Bundle.load(tmp_path / "int8")
    assert "int8" not in bundle.stage("clip_image").engines and "int8" in bundle.stage("dino").engines
    assert bundle.stage("clip_image").substitutes == {"int8": "fp32"}
    assert bundle.manifest.calibration.stages["clip_image"].precision == "float"
    assert not list((tmp_path / "int8").glob("clip_image.int8.*"))


def test_what_is_refused_can_be_kept_and_is_marked(micro_bundle, photos, tmp_path):
    outcome = run(request_of(micro_bundle, photos, tmp_path / "int8", now=slower(), keep_anyway=True))
    assert outcome.accepted and outcome.calibration.gate.refused
    bundle = Bundle.load(tmp_path / "int8")
    assert bundle.manifest.calibration.kept_anyway and "int8" in bundle.stage("dino").engines


def blacks(folder: Path, count: int) -> list[Path]:
    """Black photos that differ in a pixel, so that they count."""
    folder.mkdir()
    for index in range(count):
        pixels = np.zeros((96, 120, 3), np.uint8)
        pixels[0, index] = 1
        Image.fromarray(pixels).save(folder / f"{index}.png")
    return sorted(folder.glob("*.png"))


def test_black_photos_at_the_required_count_are_refused(micro_bundle, photos, tmp_path):
    black = blacks(tmp_path / "black", 4)
    request = request_of(micro_bundle, photos, tmp_path / "int8")
    outcome = run(dataclasses.replace(request, images=black, gate_images=sorted(photos.glob("*.png"))))
    assert not outcome.accepted and len(outcome.calibration.gate.refused) == 1
    assert "4 of 4 photos to calibrate on are flat" in outcome.calibration.gate.refused[0]
    assert not (tmp_path / "int8").exists()


def test_masks_that_differ_too_much_are_refused(micro_bundle, photos, tmp_path, monkeypatch):
    """Ranges a thousand times too small, whatever the photos."""
    monkeypatch.setattr("ovdeploy.calib.int8.meter.limit_of", lambda seen, method, of: 1e-3)
    request = request_of(micro_bundle, photos, tmp_path / "int8", settings={"labels": 0.9})
    outcome = run(dataclasses.replace(request, classes=["cup", "table", "spoon", "wall", "floor", "lamp"]))
    assert not outcome.accepted and "masks agree on" in outcome.calibration.gate.refused[0]


def test_black_photos_judge_nothing_either(micro_bundle, photos, tmp_path):
    black = blacks(tmp_path / "black", 6)
    outcome = run(dataclasses.replace(request_of(micro_bundle, photos, tmp_path / "int8"), images=black))
    assert not outcome.accepted and "2 of 2 photos to judge by are flat" in outcome.calibration.gate.refused[1]


class KilledError(Exception):
    pass


def test_a_killed_calibration_goes_on_and_gives_the_same_bytes(micro_bundle, photos, tmp_path, monkeypatch, accepted):
    """At every tenth thing that is told, and again and again, until it comes to its end."""
    output, lines, kills = tmp_path / "int8", [], 0
    for _ in range(200):
        countdown = itertools.count()

        def tell(line: str, about: str = "", countdown=countdown) -> None:
            lines.append(line)
            if next(countdown) >= 4:
                raise KilledError

        try:
            calibrate(request_of(micro_bundle, photos, output), tell)
            break
        except KilledError:
            kills += 1
            assert not output.exists()
            monkeypatch.setattr("ovdeploy.calib.int8.calibrate.judge", _quiet_judge)
    assert kills >= 3, "it was killed several times"
    assert lines.count("collecting 0.png") == 1, "nothing is collected twice"
    names = {path.name for path in accepted.iterdir()}
    assert {path.name for path in output.iterdir()} == names
    for name in names:
        assert (output / name).read_bytes() == (accepted / name).read_bytes(), name


def _quiet_judge(trial, engines, works):
    """The gate keeps only FP32's masks, and is not resumed in the middle; so it is not killed in here."""
    from ovdeploy.calib.int8.gate import judge

    return judge(dataclasses.replace(trial, tell=silent), engines, works)


def test_the_budget_puts_products_back_to_float(micro_bundle, photos, tmp_path):
    told: list[str] = []
    request = request_of(
        micro_bundle, photos, tmp_path / "int8", search_budget=True, settings={"labels": 1.0, "stages": ("clip_image",)}
    )
    outcome = run(request, lambda line, about="": told.append(line))
    assert any("harms most" in line for line in told)
    layers = [layer for stage in outcome.calibration.stages.values() for layer in stage.layers]
    assert any(layer.precision == "float" for layer in layers)


@pytest.mark.parametrize("rest", ["fp16"])
def test_the_rest_can_be_half(micro_bundle, photos, tmp_path, rest):
    assert run(request_of(micro_bundle, photos, tmp_path / "int8", rest=rest, settings={"stages": ("dino",)})).accepted
    shares = Bundle.load(tmp_path / "int8").census("dino", "int8").nodes
    assert shares["int8"] and shares[rest]


def test_kept_blocks_stay_float(micro_bundle, photos, tmp_path):
    changes = {"keep": ("last_block",), "stages": ("dino",)}
    outcome = run(request_of(micro_bundle, photos, tmp_path / "int8", settings=changes))
    every = Bundle.load(micro_bundle)
    assert outcome.calibration.stages["dino"].layers
    blocks = {layer.block for layer in outcome.calibration.stages["dino"].layers}
    assert not any(block.endswith(str(len(blocks))) for block in blocks) and every.recipe.name


def test_settings_that_name_nothing_are_refused(micro_bundle, photos, tmp_path):
    with pytest.raises(RecipeError, match="unknown block 'nowhere'"):
        run(request_of(micro_bundle, photos, tmp_path / "int8", settings={"blocks": {"dino": ("nowhere",)}}))


def test_outputs_that_hold_something_else_are_refused(micro_bundle, photos, tmp_path):
    with pytest.raises(BundleError, match="float bundle itself"):
        run(request_of(micro_bundle, photos, micro_bundle))
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "diary.txt").write_text("mine")
    with pytest.raises(BundleError, match="other files"):
        run(request_of(micro_bundle, photos, tmp_path / "other"))


def test_the_command_refuses_too_few_photos_and_leaves_out_what_cannot_be_read(micro_bundle, photos, tmp_path):
    given = [str(micro_bundle), "--images", str(photos), "--output", str(tmp_path / "int8")]
    few = CliRunner().invoke(command, [*given, "--photos", "5"])
    assert few.exit_code == 1 and "4 different photos to calibrate on, at least 5" in few.output
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    given[2] = str(tmp_path / "photos")
    os.mkfifo(tmp_path / "photos" / "fifo.png")
    broken = CliRunner().invoke(command, [*given, "--photos", "5"])
    assert broken.exit_code == 1 and "4 different photos to calibrate on, at least 5" in broken.output
    assert broken.output.count("left out") == 2 and "broken.jpg" in broken.output and "a FIFO" in broken.output


def test_the_command_tells_a_refusal_by_its_exit_code(micro_bundle, photos, tmp_path):
    black = blacks(tmp_path / "black", 6)
    given = ["--photos", "2", "--gate-photos", "2", "--search", "stage", "--ranges", "minmax", "--rounds", "1"]
    came = CliRunner().invoke(
        command,
        [str(micro_bundle), "--images", str(black[0].parent), *given, "--output", str(tmp_path / "int8"), "--set",
         "refine=false", "--classes", "cup; mug, table", "--backend", "onnxruntime"],
    )  # fmt: skip
    assert came.exit_code == REFUSED, came.output
    assert "refused: 2 of 2 photos to judge by are flat" in came.output and not (tmp_path / "int8").exists()


def test_photos_that_are_there_twice_count_once(micro_bundle, photos, tmp_path):
    twice = shutil.copytree(photos, tmp_path / "twice")
    for path in photos.glob("*.png"):
        shutil.copy(path, twice / f"again-{path.name}")
    with pytest.raises(PhotoError, match="4 different photos"):
        run(request_of(micro_bundle, twice, tmp_path / "int8", settings={"photos": 5}))
