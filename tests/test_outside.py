"""CONTRIBUTING's checklists for what comes from outside the package: a method and a pipeline, found by entry points.

A package is written into a folder and installed beside ours by nothing but its metadata, in a process of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

METADATA = "Metadata-Version: 2.1\nName: outside\nVersion: 1.0\n"

METHODS = """
from ovdeploy.runtime.pipelines.training_free.methods import Method

TABLE = {"valueclip": Method(attention="values", residual=True, source="a test")}
"""

PIPELINE = '''
"""A pipeline whose only engine says how bright each channel of a photo is. It shares nothing with ours."""

from collections.abc import Mapping
from dataclasses import replace

import msgspec
import numpy as np

from ovdeploy.runtime.errors import RecipeError
from ovdeploy.runtime.photo import as_photo
from ovdeploy.runtime.recipe.pipeline import Interface, Pipeline, StageUse
from ovdeploy.runtime.stage.contract import Axis


class Brightness:
    """What a bundle of this pipeline is opened as."""

    def __init__(self, engines):
        self.engines = engines

    def measure(self, photo):
        pixels = as_photo(photo).reshape(-1, 3).astype(np.float32)
        return self.engines["mean"].run({"pixels": pixels})["brightness"]

    def close(self):
        self.engines.close()


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be set."""

    gain: float = 1.0
    """Baked."""
    batch: int = 4096
    """Pixels at a time."""


class Sizes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the manifest keeps."""

    channels: int


def opened(bundle, engines, parameters):
    engines.open(["mean"])
    return Brightness(engines)


def check(recipe):
    if "lamp" not in recipe.models:
        raise RecipeError("the pipeline 'brightness' needs a [lamp] table")


PIPELINE = Pipeline(
    name="brightness",
    parameters=Parameters,
    sizes=Sizes,
    stages=(StageUse(name="mean", roles=("lamp",), baked={"gain": "it is a constant of the engine"}),),
    interfaces={Brightness: Interface(open=opened)},
    trial=Interface(open=opened),
    axes=lambda recipe, sizes: {"P": Axis(smallest=1, usual=64, largest=recipe.parameters.batch, example=5)},
    check=check,
    describe=lambda recipe: "how bright photos are",
)
'''

REFERENCE = '''
"""Its PyTorch side: a model of one role, a stage, what proves it."""

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from ovdeploy.export.models.families import ModelFamily
from ovdeploy.export.reference.checks import Check
from ovdeploy.export.reference.family import Family
from ovdeploy.export.reference.maker import StageMaker, tensor
from ovdeploy.export.reference.trace import Trace
from ovdeploy.runtime.photo import as_photo

from outside_pipeline import Sizes


class Lamp(nn.Module):
    def __init__(self):
        super().__init__()
        self.colour = nn.Linear(3, 3, bias=False)


class Mean(nn.Module):
    def __init__(self, lamp, gain):
        super().__init__()
        self.lamp, self.gain = lamp, gain

    def forward(self, pixels):
        return self.gain * self.lamp.colour(pixels)


LAMP = ModelFamily(lambda: ["bulb"], lambda name: Lamp(), lambda name, tag: {})
MAKER = StageMaker(
    module=lambda networks: Mean(networks.models["lamp"], networks.recipe.parameters.gain),
    inputs=lambda networks: (tensor("pixels", ("P", 3), "pixel, RGB", "0 to 255"),),
    outputs=lambda networks: (tensor("brightness", ("P", 3), "pixel, channel"),),
)


def trace(networks, photo, bundle):
    found = Trace(photo=as_photo(photo), settings=networks.recipe.parameters)
    pixels = torch.from_numpy(found.photo.reshape(-1, 3).astype(np.float32))
    with torch.no_grad():
        found.stages["mean"] = {"pixels": pixels}, {"brightness": networks.modules["mean"](pixels)}
    return found


def prove(bundle, networks, trace, open_engine, limits):
    yield Check("pipeline", "light", {"agreement": 1.0}, "there is light", bool(trace.photo.any()))


FAMILY = Family(
    makers=lambda networks: {"mean": MAKER},
    sizes=lambda networks: Sizes(channels=3),
    reference=lambda networks: None,
    trace=trace,
    prove=prove,
    masks=lambda networks, trace, sessions: iter(()),
)
'''


def package(folder: Path, modules: dict[str, str], points: dict[str, str]) -> None:
    """Modules on a path, and the metadata that names their entry points."""
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    info = folder / "outside-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA)
    groups = [f"[{group}]\n{line}\n" for group, line in points.items()]
    (info / "entry_points.txt").write_text("\n".join(groups))


def python(code: str, folder: Path) -> str:
    """Run code where the package lies on the path."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "OVDEPLOY_CACHE": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_method_from_outside_is_exported_and_passes_parity(tmp_path):
    """A row in a table of one's own, and a recipe: nothing in this tree."""
    package(tmp_path, {"outside_methods": METHODS}, {"ovdeploy.methods": "outside = outside_methods:TABLE"})
    (tmp_path / "mine.toml").write_text(
        "method = 'valueclip'\n[clip]\nmodel = 'micro'\nweights = 'random:1'\n"
        "[parameters]\nshort_side = 128\ncrop = 96\nstride = 64\n"
    )
    told = python(
        """
        from click.testing import CliRunner
        from ovdeploy.export.cli.export_engines import export_engines
        from ovdeploy.export.cli.parity import parity
        from ovdeploy.runtime.cli import main

        made = CliRunner().invoke(export_engines, ["mine.toml", "--output", "b", "--stages", "clip_image,head"])
        assert made.exit_code == 0, made.output
        proved = CliRunner().invoke(parity, ["b"])
        assert proved.exit_code == 0, proved.output
        print(CliRunner().invoke(main, ["inspect", "b"]).output)
        """,
        tmp_path,
    )
    assert "method valueclip; a test" in told


@pytest.fixture
def outside(tmp_path):
    points = {
        "ovdeploy.pipelines": "brightness = outside_pipeline:PIPELINE",
        "ovdeploy.references": "brightness = outside_reference:FAMILY",
        "ovdeploy.models": "lamp = outside_reference:LAMP",
    }
    package(tmp_path, {"outside_pipeline": PIPELINE, "outside_reference": REFERENCE}, points)
    (tmp_path / "bright.toml").write_text(
        "pipeline = 'brightness'\n[lamp]\nmodel = 'bulb'\nweights = 'random:7'\n[parameters]\ngain = 2.0\n"
    )
    return tmp_path


def test_a_pipeline_from_outside_is_exported_inspected_linted_proved_and_opened(outside):
    told = python(
        """
        import json
        import numpy as np
        from click.testing import CliRunner
        from ovdeploy.export.cli.export_engines import export_engines
        from ovdeploy.export.cli.parity import parity
        from ovdeploy.runtime import Bundle, BundleError, ParameterError, Segmenter
        from ovdeploy.runtime.cli import main
        from ovdeploy.runtime.pipelines.base import open_bundle
        from outside_pipeline import Brightness

        def run(command, *arguments):
            done = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
            assert done.exit_code == 0, done.output
            return done.output

        run(export_engines, "bright.toml", "--output", "b", "--lamp-weights", "random:8", "--precision", "fp32")
        run(export_engines, "bright.toml", "--output", "b", "--weights", "lamp=random:8", "--precision", "fp16")
        for command in (["inspect", "b"], ["lint", "b"], ["profile", "b", "--by", "onnxruntime", "--iterations", "1"]):
            run(main, *command)
        report = json.loads(run(parity, "b", "--json").split("\\n", 1)[-1].split("\\n")[-2])
        photo = np.full((4, 5, 3), 100, np.uint8)
        opened = open_bundle(Brightness, "b")
        bright = opened.measure(photo)
        opened.close()
        try:
            Segmenter.load("b")
        except BundleError as error:
            assert "has Brightness" in str(error), error
        try:
            open_bundle(Brightness, "b", parameters={"gain": 3.0})
        except ParameterError as error:
            assert "it is a constant of the engine" in str(error)
        fingerprint = Bundle.load("b").stage("mean").engines["fp32"].fingerprint
        print(json.dumps({"shape": bright.shape, "checks": len(report["checks"]), "fingerprint": fingerprint}))
        """,
        outside,
    )
    found = json.loads(told.splitlines()[-1])
    assert found["shape"] == [20, 3] and found["checks"] == 2


def test_its_own_code_is_part_of_its_fingerprint(outside):
    code = """
        from ovdeploy.export.bundling.fingerprint import fingerprint_of
        from ovdeploy.export.reference.networks import Networks
        from ovdeploy.runtime import load_recipe

        networks = Networks.load(load_recipe("bright.toml"))
        print(fingerprint_of("mean", networks, networks.contract("mean")))
    """
    before = python(code, outside)
    source = outside / "outside_reference.py"
    source.write_text(source.read_text() + "\n# a comment\n")
    assert python(code, outside) == before
    source.write_text(source.read_text().replace("return self.gain * self", "return 1 + self.gain * self"))
    assert python(code, outside) != before


def test_a_recipe_of_an_unknown_pipeline_is_answered_with_those_there_are(tmp_path):
    (tmp_path / "x.toml").write_text("pipeline = 'brightness'\n")
    told = python(
        """
        from ovdeploy.runtime import RecipeError, load_recipe
        try:
            load_recipe("x.toml")
        except RecipeError as error:
            print(error)
        """,
        tmp_path,
    )
    assert "unknown pipeline 'brightness'" in told and "prompting, tracking, training-free" in told
