"""The work of a photo: the operations of the products in every call of its engines."""

from __future__ import annotations

from collections import Counter

from ..bundle.bundle import Bundle
from ..pipelines.engines import Calls
from ..stage.precision import FP32


def product_flops(bundle: Bundle, calls: Calls) -> dict[str, int]:
    """Operations of the matrix products and convolutions of a photo, by stage, counted in the graphs.

    All that is no product (norms, softmax, additions) is left out: it takes time and gives no share of a peak that is
    one of products. The FP32 graph is counted where there is one; other precisions compute the same.

    Args:
        bundle: the engines.
        calls: as `Engines.counted` noted them while the photo ran.

    Raises:
        ImportError: the onnx package is not installed.
        ExportError: a shape depends on data.
    """
    from ..graph.flops import COUNTERS, node_flops
    from ..graph.model import load_model

    totals = {}
    for stage, made in calls.items():
        entry = bundle.stage(stage)
        engine = entry.engines.get(FP32) or next(iter(entry.engines.values()))
        model = load_model(bundle.path / engine.files[0].path, weights=False)
        products = [node.name for node in model.graph.node if node.op_type in COUNTERS]
        totals[stage] = 0
        for sizes, times in Counter(tuple(call.items()) for call in made).items():
            shapes = {spec.name: spec.sized(dict(sizes)) for spec in entry.contract.inputs}
            flops = node_flops(model, shapes)
            totals[stage] += times * sum(flops[name] for name in products)
    return totals
