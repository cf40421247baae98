"""Fingerprints: an engine goes stale by what it depends on, and by nothing else."""

from __future__ import annotations

import sys
from dataclasses import replace

import msgspec
import pytest

from ovdeploy.export.bundling import build, fingerprint
from ovdeploy.export.bundling.build import build_bundle
from ovdeploy.export.bundling.code import code_digest, import_closure, source_of
from ovdeploy.export.bundling.fingerprint import fingerprint_of, makers_of
from ovdeploy.runtime import Bundle
from ovdeploy.runtime.bundle.bundle import write_manifest


@pytest.fixture
def fingerprints(micro_networks):
    """Calculates the fingerprint of every stage."""

    def of(networks=micro_networks) -> dict[str, str]:
        stages = networks.recipe.possible_stages
        return {stage: fingerprint_of(stage, networks, networks.contract(stage)) for stage in stages}

    return of


@pytest.fixture
def with_code(monkeypatch):
    """Lets modules have other sources."""

    def change(**sources: str):
        def read(name: str) -> str:
            return sources.get(name.rpartition(".")[2], source_of(name))

        monkeypatch.setattr(fingerprint, "code_digest", lambda roots, packages: code_digest(roots, read, packages))

    return change


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {stage for stage in before if before[stage] != after[stage]}


def test_a_comment_a_docstring_and_layout_change_no_fingerprint(fingerprints, with_code):
    before = fingerprints()
    source = source_of("ovdeploy.export.reference.embed")
    commented = source.replace('"""(x − mean) / std per channel', '"""Other words').replace(
        "\n\n\n", "\n\n\n# said\n", 1
    )
    assert commented.count("# said") == 1 and "Other words" in commented
    with_code(embed=commented)
    assert not changed(before, fingerprints())


def test_one_stages_code_changes_that_stage_alone(fingerprints, with_code):
    before = fingerprints()
    with_code(dino=source_of("ovdeploy.export.reference.training_free.dino") + "\nPLUS = 1\n")
    assert changed(before, fingerprints()) == {"dino"}


def test_code_that_stages_share_changes_all_of_them(fingerprints, with_code):
    before = fingerprints()
    with_code(sam_blocks=source_of("ovdeploy.export.reference.promptable.sam_blocks") + "\nPLUS = 1\n")
    assert changed(before, fingerprints()) == {"sam_encoder"}
    with_code(onnx_export=source_of("ovdeploy.export.bundling.onnx_export") + "\nPLUS = 1\n")
    assert changed(before, fingerprints()) == set(before)


def test_a_norms_epsilon_counts(fingerprints, micro_networks, monkeypatch):
    """It is no weight, and a small SAM's decoder may differ from another's in it alone."""
    before = fingerprints()
    norm = micro_networks.modules["sam_decoder"].decoder.transformer.norm_final_attn
    monkeypatch.setattr(norm, "eps", 2 * norm.eps)
    assert changed(before, fingerprints()) == {"sam_decoder"}, "the other decoder has a copy"


def test_commands_parity_and_the_version_of_the_package_change_none(fingerprints, with_code, monkeypatch):
    before = fingerprints()
    plus = "\nPLUS = 1\n"
    with_code(commands=plus, parity=plus, build=plus, island_search=plus, cases=plus, pipeline=plus, half=plus)
    monkeypatch.setattr(
        fingerprint,
        "version",
        lambda package, real=fingerprint.version: "9.9" if package == "ovdeploy" else real(package),
    )
    assert not changed(before, fingerprints())
    monkeypatch.setattr(fingerprint, "version", lambda package: "9.9")
    assert changed(before, fingerprints()) == set(before), "PyTorch's version counts"


def test_all_that_is_imported_on_the_way_is_hashed(micro_networks):
    """What Python itself loads for a stage's modules is in the closure, but for what packages import beside it."""
    for stage, module in micro_networks.modules.items():
        closure = import_closure(makers_of(module))
        for name in closure:
            for value in vars(sys.modules[name]).values():
                home = getattr(value, "__module__", None)
                if isinstance(home, str) and home.startswith(("ovdeploy.export.reference", "ovdeploy.runtime.graph")):
                    assert home in closure, f"{stage}: {name} uses {value!r}"


def test_a_parameter_is_baked_into_engines_exactly_where_the_one_table_says(micro_networks, fingerprints, monkeypatch):
    recipe = micro_networks.recipe
    head = replace(recipe.family.by_name["head"], baked={"min_area": "for the sake of the test"})
    monkeypatch.setitem(recipe.family.by_name, "head", head)
    before = fingerprints()
    other = msgspec.structs.replace(recipe, parameters=msgspec.structs.replace(recipe.parameters, min_area=1.0))
    after = fingerprints(type(micro_networks)(other, micro_networks.models, micro_networks.provenance))
    assert changed(before, after) == {"head"}


def test_a_graph_that_comes_out_the_same_keeps_what_was_made_from_it(micro_networks, tmp_path, monkeypatch):
    """INT8 engines, plans and the report of their calibration survive code that changes no graph."""

    def export(module, contract, path):
        path.write_bytes(contract.stage.encode())

    monkeypatch.setattr(build, "export_onnx", export)
    build_bundle(micro_networks, tmp_path / "b")
    bundle = Bundle.load(tmp_path / "b")
    entry = bundle.stage("dino")
    (tmp_path / "b" / "dino.int8.onnx").write_bytes(b"8 bits")
    made = msgspec.structs.replace(
        entry.engines["fp32"], files=(build.file_entry(tmp_path / "b" / "dino.int8.onnx"),), fingerprint="own",
        source=entry.engines["fp32"].fingerprint,
    )  # fmt: skip
    stages = {**bundle.manifest.stages, "dino": msgspec.structs.replace(entry, engines={**entry.engines, "int8": made})}
    write_manifest(bundle.path, msgspec.structs.replace(bundle.manifest, stages=stages))
    monkeypatch.setattr(fingerprint, "code_digest", lambda roots, packages: "other code")
    build_bundle(micro_networks, tmp_path / "b")
    engines = Bundle.load(tmp_path / "b").stage("dino").engines
    assert set(engines) == {"fp32", "int8"}
    assert engines["int8"].source == engines["fp32"].fingerprint != made.source
    monkeypatch.setattr(build, "export_onnx", lambda module, contract, path: path.write_text("another graph") and None)
    monkeypatch.setattr(fingerprint, "code_digest", lambda roots, packages: "yet other code")
    build_bundle(micro_networks, tmp_path / "b")
    assert set(Bundle.load(tmp_path / "b").stage("dino").engines) == {"fp32"}
