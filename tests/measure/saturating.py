"""Whether ONNX Runtime's INT8 products on this CPU are exact, or sums of pairs that saturate in 16 bits.

    python tests/measure/saturating.py
    qemu-x86_64 -cpu Haswell-noTSX -E PYTHONPATH=SITE-PACKAGES PYTHON tests/measure/saturating.py

One product of random numbers between `QuantizeLinear` and `DequantizeLinear`, held against the exact one and against a
transcription of `vpmaddubsw`. It needs numpy, onnx and onnxruntime alone, so that it runs under an emulator too.
"""

from __future__ import annotations

import numpy as np
import onnxruntime
from onnx import ModelProto, TensorProto, helper, numpy_helper

ROWS, LENGTH, COLUMNS = 8, 64, 16
STEP = np.float32(0.01)


def product(weight: np.ndarray, scale: np.float32) -> ModelProto:
    tensors = {
        "scale": scale,
        "zero": np.int8(0),
        "weight": weight,
        "steps": np.full(COLUMNS, STEP),
        "zeros": np.zeros(COLUMNS, np.int8),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "scale", "zero"], ["eight"]),
        helper.make_node("DequantizeLinear", ["eight", "scale", "zero"], ["value"]),
        helper.make_node("DequantizeLinear", ["weight", "steps", "zeros"], ["matrix"], axis=1),
        helper.make_node("MatMul", ["value", "matrix"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [ROWS, LENGTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, COLUMNS])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def saturating(unsigned: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Each two neighbours are added in 16 bits."""
    total = np.zeros((ROWS, COLUMNS), np.int64)
    for k in range(0, LENGTH, 2):
        pair = unsigned[:, k : k + 2] @ weight[k : k + 2]
        total += np.clip(pair, -(2**15), 2**15 - 1)
    return total


def main() -> None:
    rng = np.random.default_rng(0)
    x = np.clip(rng.standard_normal((ROWS, LENGTH)), -3, 3).astype(np.float32)
    weight = rng.integers(-127, 128, (LENGTH, COLUMNS)).astype(np.int8)
    scale = np.float32(np.abs(x).max() / 127)
    model = product(weight, scale).SerializeToString()
    came = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
    eight, wide = np.rint(x / scale).astype(np.int64), weight.astype(np.int64)
    exact = eight @ wide
    pairs = saturating(eight + 128, wide) - 128 * wide.sum(axis=0)
    for name, numbers in (("the exact product", exact), ("pairs that saturate", pairs)):
        apart = np.abs(came - numbers * scale * STEP).max()
        print(f"ONNX Runtime {onnxruntime.__version__} and {name}: at most {apart:.1e} apart")


if __name__ == "__main__":
    main()
