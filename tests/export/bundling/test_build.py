from __future__ import annotations

import itertools
import re
import shutil
from types import SimpleNamespace

import msgspec
import onnx
import pytest

from ovdeploy.export.bundling import build, onnx_export
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, RecipeError, load_recipe
from ovdeploy.runtime.bundle import SCHEMA_VERSION
from ovdeploy.runtime.errors import ExportError
from ovdeploy.runtime.graph import model as graph_model
from ovdeploy.runtime.recipe.recipe import with_optional
from support.bundles import engine_file


@pytest.fixture
def exported(monkeypatch):
    """The stages that are really exported, in order. The export itself is replaced by a small file, for speed."""
    stages = []

    def fake(module, contract, path):
        stages.append(contract.stage)
        path.write_bytes(contract.stage.encode())

    monkeypatch.setattr(build, "export_onnx", fake)
    return stages


def test_the_manifest_says_what_made_the_bundle(micro_bundle, micro_networks):
    manifest = Bundle.load(micro_bundle).manifest
    assert tuple(manifest.stages) == micro_networks.recipe.stages
    assert manifest.recipe == micro_networks.recipe
    assert manifest.provenance["clip"].source == "random:1"
    assert {"torch", "onnx", "ovdeploy"} <= set(manifest.versions)
    assert len(manifest.text.templates) == 80 and all("{}" in template for template in manifest.text.templates)


def test_nothing_of_this_machine_is_in_the_bundle(micro_bundle):
    for path in micro_bundle.iterdir():
        data = path.read_bytes()
        assert str(micro_bundle.parent).encode() not in data
        assert b"site-packages" not in data and b"export/reference" not in data, path.name


def test_graphs_are_plain_onnx_of_the_chosen_opset(micro_bundle):
    for path in micro_bundle.glob("*.onnx"):
        model = onnx.load(path)
        assert {(o.domain, o.version) for o in model.opset_import} == {("", onnx_export.OPSET)}, path.name
        kinds = {node.op_type for node in model.graph.node}
        assert not kinds & {"NonZero", "Loop", "If", "Scan"}, "no data-dependent shapes, no control flow"
        assert not model.functions


def test_an_export_is_reproducible(micro_bundle, micro_networks, tmp_path):
    path = tmp_path / "head.fp32.onnx"
    onnx_export.export_onnx(micro_networks.modules["head"], micro_networks.contract("head"), path)
    assert path.read_bytes() == engine_file(micro_bundle, "head").read_bytes()


def test_unchanged_stages_are_not_exported_again(micro_networks, exported, tmp_path):
    build_bundle(micro_networks, tmp_path / "b")
    first = list(exported)
    exported.clear()
    build_bundle(micro_networks, tmp_path / "b")
    assert exported == []
    build_bundle(micro_networks, tmp_path / "b", force=True)
    assert exported == first == list(micro_networks.recipe.stages)


def test_only_what_other_weights_touch_is_exported_again(micro_networks, exported, tmp_path):
    build_bundle(micro_networks, tmp_path / "b")
    exported.clear()
    build_bundle(Networks.load(micro_networks.recipe, {"sam": "random:9"}), tmp_path / "b")
    assert exported == ["sam_encoder", "sam_decoder"]
    assert Bundle.load(tmp_path / "b").manifest.provenance["sam"].source == "random:9"


def test_a_damaged_engine_is_exported_again(micro_networks, exported, tmp_path):
    build_bundle(micro_networks, tmp_path / "b")
    engine_file(tmp_path / "b", "dino").write_bytes(b"xino")
    exported.clear()
    build_bundle(micro_networks, tmp_path / "b")
    assert exported == ["dino"]


def test_stages_can_be_chosen_and_added(micro_networks, exported, tmp_path):
    build_bundle(micro_networks, tmp_path / "b", stages=["head"])
    assert list(Bundle.load(tmp_path / "b").manifest.stages) == ["head"]
    build_bundle(micro_networks, tmp_path / "b", stages=["dino"])
    assert list(Bundle.load(tmp_path / "b").manifest.stages) == ["dino", "head"]
    with pytest.raises(ExportError, match=r"Did you mean 'head'\?"):
        build_bundle(micro_networks, tmp_path / "b", stages=["heads"])


def test_optional_stages_are_left_out_unless_asked_for(micro_networks, exported, tmp_path):
    recipe = micro_networks.recipe
    build_bundle(micro_networks, tmp_path / "b")
    assert exported == list(recipe.stages)
    exported.clear()
    build_bundle(micro_networks, tmp_path / "b", stages=["sam_prompt_decoder"])
    assert exported == ["sam_prompt_decoder"]
    assert list(Bundle.load(tmp_path / "b").manifest.stages) == [*recipe.stages, "sam_prompt_decoder"]


def test_a_bundle_keeps_its_optional_stages_and_with_other_weights_gets_them_anew(micro_networks, exported, tmp_path):
    build_bundle(micro_networks, tmp_path / "b", stages=["head", "sam_prompt_decoder"])
    exported.clear()
    build_bundle(Networks.load(micro_networks.recipe, {"sam": "random:9"}), tmp_path / "b")
    assert exported == [stage for stage in micro_networks.recipe.stages if stage != "head"] + ["sam_prompt_decoder"]


def test_a_recipe_can_ask_for_optional_stages(exported, tmp_path):
    recipe = with_optional(load_recipe("micro"), "sam_prompt_decoder")
    build_bundle(Networks.load(recipe), tmp_path / "b")
    assert exported == [*recipe.stages, "sam_prompt_decoder"]


@pytest.mark.parametrize("had_one", [False, True])
def test_an_interrupted_export_leaves_no_half_bundle_and_goes_on(
    micro_networks, exported, tmp_path, monkeypatch, had_one
):
    target = tmp_path / "b"
    if had_one:
        build_bundle(micro_networks, target)
        exported.clear()
    before = _contents(target)
    networks = Networks.load(micro_networks.recipe, dict.fromkeys(("clip", "dino", "sam"), "random:5"))
    working = build.export_onnx

    def interrupt(module, contract, path):
        if contract.stage == "sam_encoder":
            path.write_bytes(b"half of it")
            raise KeyboardInterrupt
        working(module, contract, path)

    monkeypatch.setattr(build, "export_onnx", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build_bundle(networks, target)
    assert _contents(target) == before, "the bundle that was there, or none"
    monkeypatch.setattr(build, "export_onnx", working)
    exported.clear()
    build_bundle(networks, target)
    assert exported == ["sam_encoder", "head", "sam_decoder"], "what was done is not done again"
    bundle = Bundle.load(target)
    assert all(bundle.verified(entry).is_file() for entry in bundle.manifest.files())
    assert [path.name for path in tmp_path.iterdir()] == ["b"], "nothing is left beside it"


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else None


def test_a_folder_with_other_files_is_not_touched(micro_networks, exported, tmp_path):
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(ExportError, match="other files"):
        build_bundle(micro_networks, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_bundle_of_another_schema_is_replaced(micro_networks, exported, tmp_path):
    build_bundle(micro_networks, tmp_path / "b")
    manifest = tmp_path / "b" / "bundle.json"
    manifest.write_text(manifest.read_text().replace(f'"schema_version": {SCHEMA_VERSION}', '"schema_version": 99'))
    build_bundle(micro_networks, tmp_path / "b")
    assert Bundle.load(tmp_path / "b").manifest.schema_version == SCHEMA_VERSION


def test_a_stage_that_cannot_be_exported_says_which(micro_networks, tmp_path):
    import torch

    class Awkward(torch.nn.Module):
        def forward(self, tokens):
            return tokens[tokens > 0].float()[: int(tokens.sum())]

    with pytest.raises(ExportError, match="text_encoder"):
        onnx_export.export_onnx(Awkward(), micro_networks.contract("text_encoder"), tmp_path / "x.onnx")


def test_a_crop_that_does_not_fit_the_patch_is_refused():
    recipe = load_recipe("micro")
    bad = msgspec.structs.replace(recipe, parameters=msgspec.structs.replace(recipe.parameters, crop=100))
    with pytest.raises(RecipeError, match="multiple of CLIP's patch"):
        Networks.load(bad)


def test_weights_past_the_limit_go_beside_the_graph(micro_networks, tmp_path, monkeypatch):
    from ovdeploy.runtime.backends.registry import open_session

    monkeypatch.setattr(graph_model, "EXTERNAL_DATA_ABOVE", 1000)
    target = tmp_path / "b"
    build_bundle(micro_networks, target, stages=["dino"])
    bundle = Bundle.load(target)
    files = bundle.manifest.stages["dino"].engines["fp32"].files
    graph, data = (file.path for file in files)
    assert re.fullmatch(r"dino\.fp32\.[0-9a-f]{12}\.onnx", graph) and re.fullmatch(
        r"dino\.fp32\.[0-9a-f]{12}\.onnx\.data", data
    )
    moved = tmp_path / "moved"
    shutil.move(target, moved)
    open_session(Bundle.load(moved).engine_path("dino", "fp32"), bundle.stage("dino").contract).close()


def test_a_preset_goes_into_the_bundle_and_its_folders_name(exported, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from ovdeploy.export.cli.export_engines import export_engines

    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(export_engines, ["micro", "--preset", "context60", "--interactive"])
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == "engines/micro-context60" and "assumed, not published" in result.stderr
    recipe = Bundle.load(tmp_path / "engines" / "micro-context60").recipe
    assert recipe.preset.name == "context60" and len(recipe.classes) == 60 and recipe.parameters.short_side == 576
    assert exported[-1] == "sam_prompt_decoder"


def test_an_overlay_goes_into_the_bundle_and_unchanged_graphs_stay(exported, tmp_path, monkeypatch):
    from click.testing import CliRunner

    from ovdeploy.export.cli.export_engines import export_engines

    monkeypatch.chdir(tmp_path)
    (tmp_path / "tuned.toml").write_text("[parameters]\nlogit_scale = 31.0\n")
    for arguments in ((), ("--parameters", "tuned.toml")):
        result = CliRunner().invoke(export_engines, ["micro", "--output", "bundle", *arguments])
        assert result.exit_code == 0, result.stderr
    assert len(exported) == len(set(exported)), "thresholds are in no graph"
    parameters = Bundle.load(tmp_path / "bundle").recipe.parameters
    assert (parameters.logit_scale, parameters.min_area) == (31.0, 40)
    result = CliRunner().invoke(export_engines, ["micro", "--output", "bundle", "--parameters", "none.toml"])
    assert result.exit_code == 1 and "none.toml" in result.stderr


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_seconds_of_all_stages_are_no_more_than_the_whole_run(micro_networks, tmp_path, monkeypatch, precision):
    """Each stage's own: a clock that goes on by a second whenever it is read tells who counted another's time."""
    ticks = itertools.count()
    monkeypatch.setattr(build, "time", SimpleNamespace(perf_counter=lambda: float(next(ticks))))
    conversion = HalfConversion(micro_networks, precision) if precision != "fp32" else None
    told: list[str] = []
    build_bundle(
        micro_networks,
        tmp_path / "made",
        conversion=conversion,
        progress=lambda event, **more: told.append(event) if more.get("lasting") else None,
    )
    seconds = [float(event.rsplit(", ", 1)[1].removesuffix(" s")) for event in told if event.endswith(" s")]
    assert len(seconds) == len(micro_networks.recipe.stages)
    assert 0 < sum(seconds) <= next(ticks)
    assert max(seconds) <= 2 * min(seconds), "none counts what was spent on those before it"
