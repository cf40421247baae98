from __future__ import annotations

import json
import re
import shutil

import msgspec
import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from ovdeploy.export.bundling import build, island_search
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.half import HalfConversion, calibration_photos
from ovdeploy.export.cli.export_engines import export_engines
from ovdeploy.export.cli.parity import parity
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, load_recipe
from ovdeploy.runtime.errors import ExportError
from ovdeploy.runtime.graph.islands import STANDARD, IslandRecipe, StageIslands, read_islands, write_islands
from ovdeploy.runtime.photo.reading import demo_photo
from support.bundles import engine_file


@pytest.fixture
def folder(micro_bundle, tmp_path):
    """A copy of the FP32 bundle, so that nothing is exported again."""
    return shutil.copytree(micro_bundle, tmp_path / "b")


@pytest.fixture
def no_export(monkeypatch):
    def refuse(module, contract, path):
        raise AssertionError(f"{contract.stage} is exported again")

    monkeypatch.setattr(build, "export_onnx", refuse)


def noting(events):
    """A reporter that writes down what things are about, and what happens to them."""
    return lambda event, about="", lasting=False: events.append((about, event))


def precisions(folder):
    return {stage: sorted(entry.engines) for stage, entry in Bundle.load(folder).manifest.stages.items()}


def test_half_engines_join_the_fp32_ones(micro_networks, folder, no_export):
    build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, "fp16"))
    assert set(map(tuple, precisions(folder).values())) == {("fp16", "fp32")}
    bundle = Bundle.load(folder)
    for stage, entry in bundle.manifest.stages.items():
        full, half = entry.engines["fp32"], entry.engines["fp16"]
        assert half.source == full.fingerprint != half.fingerprint
        assert half.census is not None and half.census.share("weights", "fp16") >= 0.95, stage
        assert half.files[0].bytes < 0.62 * full.files[0].bytes or stage == "head", "tiny weights, large graphs"
    assert read_islands(folder / "islands.fp16.toml").of("dino") == STANDARD


def test_what_is_unchanged_is_not_converted_again(micro_networks, folder, no_export, monkeypatch):
    build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, "fp16"))
    again = HalfConversion(micro_networks, "fp16")
    monkeypatch.setattr(again, "convert", lambda *_: pytest.fail("converted again"))
    build_bundle(micro_networks, folder, conversion=again)
    build_bundle(micro_networks, folder)  # nor are the FP32 engines, and the half ones stay
    assert set(map(tuple, precisions(folder).values())) == {("fp16", "fp32")}


def test_one_stage_can_be_converted_and_the_rest_stays(micro_networks, folder, no_export):
    build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, "bf16"), stages=["head"])
    found = precisions(folder)
    assert found.pop("head") == ["bf16", "fp32"] and set(map(tuple, found.values())) == {("fp32",)}


def test_other_weights_drop_the_engines_made_from_the_old_ones(micro_networks, folder):
    build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, "fp16"), stages=["head", "dino"])
    changed = Networks.load(micro_networks.recipe, {"dino": "random:9"})
    build_bundle(changed, folder, stages=["dino"])
    found = precisions(folder)
    assert found["dino"] == ["fp32"] and found["head"] == ["fp16", "fp32"]


def test_without_fp32_engines_they_are_made_on_the_way_and_not_kept(micro_networks, tmp_path):
    build_bundle(micro_networks, tmp_path / "b", conversion=HalfConversion(micro_networks, "fp16"), stages=["head"])
    assert precisions(tmp_path / "b") == {"head": ["fp16"]}
    names = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert [re.sub(r"\.[0-9a-f]{12}\.", ".", name) for name in names] == [
        "bundle.json", "head.fp16.onnx", "islands.fp16.toml", "tokenizer.json"
    ]  # fmt: skip


def test_a_file_of_islands_is_used(micro_networks, folder, tmp_path, no_export):
    chosen = StageIslands(classes=("layer_norm", "l2_norm"), nodes=("node_matmul_3",))
    write_islands(tmp_path / "mine.toml", IslandRecipe(stages={"head": chosen}))
    conversion = HalfConversion(micro_networks, "fp16", str(tmp_path / "mine.toml"))
    with pytest.raises(ExportError, match=r"head cannot go by fp16: 0\.0% of its weights"):
        build_bundle(micro_networks, folder, conversion=conversion, stages=["head"])
    write_islands(tmp_path / "mine.toml", IslandRecipe(stages={"head": msgspec.structs.replace(chosen, nodes=())}))
    conversion = HalfConversion(micro_networks, "fp16", str(tmp_path / "mine.toml"))
    build_bundle(micro_networks, folder, conversion=conversion, stages=["head"])
    graph = onnx.load(engine_file(folder, "head", "fp16")).graph
    assert any(node.op_type == "Cast" and node.output[0] == "logits" for node in graph.node), "no output island"
    with pytest.raises(ExportError, match="islands for fp16, not bf16"):
        HalfConversion(micro_networks, "bf16", str(tmp_path / "mine.toml"))


def test_no_islands_at_all_are_refused_by_the_weights_name(micro_networks, folder, no_export):
    with pytest.raises(ExportError, match=r"val_\d+ \(read by node_clamp_min\) vanishes"):
        build_bundle(micro_networks, folder, conversion=HalfConversion(micro_networks, "fp16", "none"), stages=["head"])


def easy(networks):
    """The tiny networks without refinement: SAM's random decoder turns the least difference into another mask."""
    parameters = msgspec.structs.replace(networks.recipe.parameters, refine=False)
    recipe = msgspec.structs.replace(
        networks.recipe, parameters=parameters, tolerances=load_recipe("trident-b16").tolerances
    )
    return Networks(recipe, networks.models, networks.provenance)


def test_auto_finds_islands_with_which_parity_passes(micro_networks, folder, no_export):
    """What cannot be represented is found (ε of the norms), and nothing that is not needed is kept in FP32."""
    networks, told = easy(micro_networks), []
    conversion = HalfConversion(networks, "fp16", "auto", [demo_photo()])
    build_bundle(networks, folder, conversion=conversion, progress=noting(told))
    islands = read_islands(folder / "islands.fp16.toml")
    assert "node_clamp_min" in islands.of("dino").nodes
    assert any(stage == "pipeline" and "masks agree" in event for stage, event in told)
    assert islands.of("sam_decoder") == STANDARD, "it did not run"
    census = Bundle.load(folder).manifest.stages["sam_encoder"].engines["fp16"].census
    assert census is not None and census.share("weights", "fp16") > 0.95
    result = CliRunner().invoke(parity, [str(folder), "--precision", "fp16", "--json"], catch_exceptions=False)
    report = json.loads(result.stdout)
    assert result.exit_code == 0 and report["passed"] and report["emulated"]
    assert all(check["measures"].get("cosine", 1) >= 0.999 for check in report["checks"])
    again = HalfConversion(networks, "fp16", str(folder / "islands.fp16.toml"))
    assert again.islands == conversion.islands, "the recipe found can be used again"


def test_masks_that_differ_ask_for_more_islands(micro_networks, folder, monkeypatch):
    """Classes are added to all stages from the last decision on; what does not help is not kept."""
    networks, told = easy(micro_networks), []
    shares = {(): 0.9, ("output",): 0.95, ("output", "threshold"): 0.94, ("output", "relative_position"): 0.995}

    def agreement(networks, graphs, islands, precision, seen):
        return shares.get(islands["sam_encoder"].classes, 0.9)

    monkeypatch.setattr(island_search, "_mask_agreement", agreement)
    bundle = Bundle.load(folder)
    graphs = {stage: bundle.engine_path(stage, "fp32") for stage in ("sam_encoder", "head")}
    start = {stage: StageIslands() for stage in graphs}
    found, share = island_search._search_masks(networks, graphs, start, "fp16", [], noting(told))
    assert share == 0.995 and found["sam_encoder"].classes == ("output", "relative_position")
    assert found["head"].classes == ("output",), "it has no relative positions"
    assert "no help" in told[2][1]


def test_parity_fails_where_half_is_wrong(micro_networks, folder, no_export):
    """A weight of the half graph scaled by 1.1: the cosine hardly sees it, the relative error does."""
    networks = easy(micro_networks)
    build_bundle(networks, folder, conversion=HalfConversion(networks, "fp16"), stages=["head"])
    bundle = Bundle.load(folder)
    from ovdeploy.export.reference.checks import limits_for

    expected = networks.family.trace(networks, demo_photo(), bundle).case("head")[1]["logits"]
    limits = limits_for(bundle.recipe.tolerances, "fp16")
    assert limits.check("head", "logits", expected, expected).passed
    assert not limits.check("head", "logits", expected * np.float32(1.1), expected).passed
    assert not limits.check("head", "logits", expected + 0.1 * np.abs(expected).max(), expected).passed


def test_photos_for_calibration(tmp_path):
    assert calibration_photos(None) == [demo_photo()]
    with pytest.raises(ExportError, match="holds no photos"):
        calibration_photos(tmp_path)
    for index in range(20):
        (tmp_path / f"{index:02}.jpg").touch()
    (tmp_path / "notes.txt").touch()
    assert [path.stem for path in calibration_photos(tmp_path, 5)] == ["00", "04", "08", "12", "16"]
    assert len(calibration_photos(tmp_path)) == 8


def test_the_command_makes_half_engines(folder, tmp_path):
    arguments = ["micro", "--output", folder, "--precision", "bf16", "--stages", "head"]
    result = CliRunner().invoke(export_engines, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0 and "nodes in FP32 (the usual)" in result.stderr
    assert precisions(folder)["head"] == ["bf16", "fp32"]
    missing = CliRunner().invoke(
        export_engines, ["micro", "--precision", "fp16", "--islands", str(tmp_path / "no.toml")]
    )
    assert missing.exit_code == 1 and "the file of islands cannot be read" in missing.stderr


def test_the_search_reads_words_by_the_models_own_table():
    """tiny's text tower knows fewer tokens than CLIP's: with CLIP's tokenizer the search fed it ids past its table."""
    networks = Networks.load(load_recipe("tiny"))
    tokens = networks.family.trace(networks, demo_photo(), None).case("text_encoder")[0]["tokens"]
    assert 0 < tokens.max() < networks.models["clip"].vocab_size
