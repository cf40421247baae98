"""Commands run as a user runs them, and engines made wrong on purpose."""

from __future__ import annotations

import msgspec
import numpy as np
import onnx
from click.testing import CliRunner
from onnx import numpy_helper

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.bundle.bundle import file_entry, write_manifest
from support.bundles import engine_file


def run(command, *arguments):
    return CliRunner().invoke(command, [str(argument) for argument in arguments], catch_exceptions=False)


def scale_layer(folder, stage, which):
    """Multiply one weight matrix of an engine by 1.01, and write its hash into the manifest again."""
    path = engine_file(folder, stage)
    model = onnx.load(path)
    matrices = [t for t in model.graph.initializer if len(t.dims) >= 2 and t.data_type == onnx.TensorProto.FLOAT]
    matrices = [t for t in matrices if min(t.dims[:2]) >= 16]
    tensor = matrices[int(which * (len(matrices) - 1))]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.01), tensor.name))
    onnx.save(model, path)
    manifest = Bundle.load(folder).manifest
    entry = manifest.stages[stage]
    engine = msgspec.structs.replace(entry.engines["fp32"], files=(file_entry(path),))
    manifest.stages[stage] = msgspec.structs.replace(entry, engines={"fp32": engine})
    write_manifest(folder, manifest)
