"""The precision that is chosen for a processor, on processors that are made up."""

from types import SimpleNamespace

import pytest

from ovdeploy.runtime import Segmenter
from ovdeploy.runtime.backends import cpu
from ovdeploy.runtime.backends.cpu import this_processor
from ovdeploy.runtime.backends.openvino import session as openvino
from ovdeploy.runtime.backends.registry import BACKENDS
from ovdeploy.runtime.bundle.fastest import fastest, resolved_precision

X86 = "processor\t: 0\nmodel name\t: {name}\nflags\t\t: fpu sse4_2 {flags}\n\nprocessor\t: 1\nmodel name\t: other\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd {flags}\nCPU part\t: 0xd0c\n"

PROCESSORS = {
    "no more than AVX2": (X86, "avx2", ()),
    "AVX-512 without VNNI": (X86, "avx2 avx512f", ()),
    "VNNI": (X86, "avx2 avx512f avx512_vnni", ("int8",)),
    "VNNI without AVX-512": (X86, "avx2 avx_vnni", ("int8",)),
    "VNNI and bf16": (X86, "avx2 avx512f avx512_vnni avx512_bf16", ("int8", "bf16")),
    "AMX": (X86, "avx2 avx512f amx_bf16 amx_int8 amx_tile", ("int8", "bf16")),
    "Arm": (ARM, "asimdhp", ()),
    "Arm with dot products": (ARM, "asimddp", ("int8",)),
    "Arm with bf16": (ARM, "i8mm bf16", ("int8", "bf16")),
}


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """Lets the process believe that it runs on another processor."""

    def of(layout, flags):
        (tmp_path / "cpuinfo").write_text(layout.format(name="Made Up 9000", flags=flags))
        monkeypatch.setattr(cpu, "CPUINFO", tmp_path / "cpuinfo")
        types = (
            "FP32",
            *(["INT8"] if "vnni" in flags or "int8" in flags else []),
            *(["BF16"] if "bf16" in flags else []),
        )
        monkeypatch.setattr(openvino, "capabilities", lambda: types)
        return this_processor()

    return of


def holding(*precisions):
    return SimpleNamespace(precisions=lambda: precisions)


@pytest.mark.parametrize(("layout", "flags", "native"), PROCESSORS.values(), ids=PROCESSORS)
def test_precisions_follow_from_instruction_sets(processor, layout, flags, native):
    assert processor(layout, flags).native == native


@pytest.mark.parametrize("content", [None, b"", b"flags", b"\xff\xfe: \xff\n:::\n"])
def test_a_processor_that_tells_nothing_has_no_precisions(tmp_path, content):
    if content is not None:
        (tmp_path / "cpuinfo").write_bytes(content)
    assert this_processor(tmp_path / "cpuinfo").native == ()


@pytest.mark.parametrize(
    ("flags", "held", "backend", "chosen"),
    [
        ("avx2", ("fp32", "int8"), "openvino", "fp32"),
        ("avx2 avx512_vnni", ("fp32", "int8"), "openvino", "int8"),
        ("avx2 avx512_vnni", ("fp32", "int8"), "onnxruntime", "int8"),
        ("avx2 avx512_vnni", ("fp32",), "openvino", "fp32"),
        ("avx2 avx512_vnni avx512_bf16", ("fp32",), "openvino", "bf16"),  # OpenVINO makes it of FP32
        ("avx2 avx512_vnni avx512_bf16", ("fp32",), "onnxruntime", "fp32"),
        ("avx2 avx512_bf16", ("bf16", "fp32"), "onnxruntime", "fp32"),  # it would compute in FP32 what is in bf16
        ("avx2 avx512_vnni avx512_bf16", ("fp32", "int8"), "openvino", "int8"),
        ("avx2 avx512_vnni", ("fp16", "fp32", "int8"), "tensorrt", "fp32"),
        ("avx2 avx512_vnni", ("fp32", "int8"), "emulated", "fp32"),
    ],
)
def test_the_fastest_is_what_bundle_backend_and_processor_have(processor, monkeypatch, flags, held, backend, chosen):
    monkeypatch.setattr("ovdeploy.runtime.backends.registry._installed", lambda name: True)
    assert fastest(holding(*held), backend, processor(X86, flags)) == chosen


def test_a_backend_that_refuses_a_precision_is_believed_more_than_the_flags(processor, monkeypatch):
    found = processor(X86, "avx2 avx512_bf16")
    monkeypatch.setattr(openvino, "capabilities", lambda: ("FP32",))
    assert fastest(holding("fp32"), "openvino", found) == "fp32"


def test_a_precision_that_is_named_is_taken_as_it_is(processor):
    processor(X86, "avx2 avx512_vnni")
    assert resolved_precision(holding("fp32", "int8"), "fp32", "openvino") == "fp32"


def test_a_segmenter_tells_what_auto_became(processor, micro_bundle):
    processor(X86, "avx2")
    with Segmenter.load(micro_bundle, precision="auto") as segmenter:
        assert segmenter.precision == "fp32" and segmenter.backend in BACKENDS
