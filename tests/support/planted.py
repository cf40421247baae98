"""Smallest graphs that break a rule of lint, each with the node that is to be named."""

from __future__ import annotations

import numpy as np

from support.graphs import graph

f32 = np.float32
ROW = "(float[N, 8] x) => (float[N, 8] y)"
IMAGE = "(float[1, 1, 4, 4] x) => (float[1, 1, 8, 8] y)"
GRID = "(float[1, 1, 4, 4] x, float[1, 2, 2, 2] at) => (float[1, 1, 2, 2] y)"
SIZES = {"sizes": np.array([1, 1, 8, 8])}
NORM = (
    "m = ReduceMean(x, last) c = Sub(x, m) s = Pow(c, two) v = ReduceMean(s, last) e = Add(v, eps) r = Sqrt(e) "
    "y = Div(c, r)"
)
LATE = "t = Transpose(x) q = MatMul(x, t) d = Div(q, two) w = Add(d, one) z = Softmax(w) y = MatMul(z, x)"

PLANTED = [
    ("opset", "", lambda: graph(ROW, "y = Neg(x)", opset=26)),
    ("operator", "MatMulInteger_y", lambda: graph("(int8[2, 2] x) => (int32[2, 2] y)", "y = MatMulInteger(x, x)")),
    ("operator", "Det_y", lambda: graph("(float[1, 2, 2] x) => (float[1] y)", "y = Det(x)")),
    ("operator", "BiasGelu_y", lambda: graph(ROW, "y = com.microsoft.BiasGelu(x, g)", g=np.ones(8, f32))),
    ("dtype", "Add_y", lambda: graph("(double[2] x) => (double[2] y)", "y = Add(x, x)")),
    ("dtype", "Relu_y", lambda: graph("(int32[2] x) => (int32[2] y)", "y = Relu(x)")),
    ("resize", "Resize_y",
     lambda: graph(IMAGE, 'y = Resize<mode="linear", keep_aspect_ratio_policy="not_larger">(x, , , sizes)', **SIZES)),
    ("resize", "Resize_y", lambda: graph(IMAGE, 'y = Resize<mode="linear", antialias=1>(x, , , sizes)', **SIZES)),
    ("grid_sample", "GridSample_y", lambda: graph(GRID, "y = GridSample(x, at)")),
    ("grid_sample", "GridSample_y", lambda: graph(GRID, "y = GridSample(x, at)", opset=16)),
    ("constant_axes", "ReduceSum_y",
     lambda: graph("(float[N, 8] x, int64[1] a) => (float[N, 1] y)", "y = ReduceSum(x, a)")),
    ("data_dependent_shape", "NonZero_i",
     lambda: graph("(float[8] x) => (int64[1, M] y)", "i = NonZero(x) y = Neg(i)")),
    ("data_dependent_shape", "Reshape_y",
     lambda: graph("(float[8] x, int32[2] s) => (float[A, B] y)", "t = Cast<to=7>(s) y = Reshape(x, t)")),
    ("int64_data", "Mul_y", lambda: graph("(int32[8] x) => (int64[8] y)", "a = Cast<to=7>(x) y = Mul(a, a)")),
    ("int64_data", "", lambda: graph("(int64[8] x) => (int64[8] y)", "y = Identity(x)")),
    ("decomposed_norm", "Div_y", lambda: graph(ROW, NORM, last=np.array([-1]), eps=f32(1e-6), two=f32(2))),
    ("late_scale", "Div_d", lambda: graph("(float[4, 8] x) => (float[4, 8] y)", LATE, two=f32(2), one=f32(1))),
    ("mixed_types", "Add_y", lambda: graph("(float16[2] x) => (float16[2] y)", "y = Add(x, two)", two=f32(2))),
    ("mixed_types", "MatMul_y",
     lambda: graph("(float16[2, 2] x) => (float16[2, 2] y)", "y = MatMul(x, w)", w=np.ones((2, 2), f32))),
]  # fmt: skip
