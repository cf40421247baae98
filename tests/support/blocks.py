"""Small transformers' MLPs, as the exported graphs have them, with an outlier in one channel."""

from __future__ import annotations

import numpy as np

from support.graphs import graph

f32 = np.float32
BODY = """
n = LayerNormalization(x, g, b)
m = Reshape(n, flat)
h = Gemm<transB = 1>(m, encoder_blocks_0_w1, c1)
a = Gelu(h)
k = MatMul(a, encoder_blocks_0_w2)
o = Reshape(k, deep)
r = Add(o, x)
p = LayerNormalization(r, g, b)
q = MatMul(p, encoder_blocks_1_w)
y = Add(q, r)
"""
SIGNATURE = "(float[N, 6, 8] x) => (float[N, 6, 8] y)"


def mlp(outlier: float = 30.0):
    """Two blocks: a Gemm and a MatMul behind one norm, a MatMul behind another that has the same scale and shift."""
    rng = np.random.default_rng(0)
    scale = np.ones(8, f32)
    scale[3] = outlier
    weights = {
        "g": scale,
        "b": rng.standard_normal(8),
        "encoder_blocks_0_w1": rng.standard_normal((16, 8)),
        "c1": rng.standard_normal(16),
        "encoder_blocks_0_w2": rng.standard_normal((16, 8)) / 4,
        "encoder_blocks_1_w": rng.standard_normal((8, 8)) / 3,
    }
    named = {name: array.astype(f32) for name, array in weights.items()}
    model = graph(SIGNATURE, BODY, flat=np.array([-1, 8], np.int64), deep=np.array([-1, 6, 8], np.int64), **named)
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = _dotted(name)
    for tensor in model.graph.initializer:
        tensor.name = _dotted(tensor.name)
    return model


def _dotted(name: str) -> str:
    """ONNX's text format knows no dots in names."""
    return name.replace("encoder_blocks_0_", "encoder.blocks.0.").replace("encoder_blocks_1_", "encoder.blocks.1.")


def feeds(count: int = 3, seed: int = 1) -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(seed).standard_normal((count, 6, 8)).astype(f32)}
