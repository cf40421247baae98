"""The work of a photo: how often each engine is called, at which sizes, and the operations of its products."""

from __future__ import annotations

from collections import Counter

from ..bundle.bundle import Bundle
from ..pipelines.training_free.plan import Plan, plan_photo
from ..recipe.parameters import Parameters
from ..recipe.recipe import Recipe

Call = dict[str, int]
"""The sizes of a call's dynamic axes, by their names in the contract."""


def photo_plan(bundle: Bundle, photo_hw: tuple[int, int], parameters: Parameters) -> Plan:
    """The plan of a photo, as the pipeline makes it."""
    return plan_photo(photo_hw, parameters, bundle.recipe.row, bundle.manifest.dimensions)


def stage_calls(
    plan: Plan, recipe: Recipe, parameters: Parameters, queries: int, regions: int
) -> dict[str, list[Call]]:
    """The calls that a photo needs, by stage; `text_encoder` has none.

    Args:
        plan: of the photo.
        recipe: the bundle's.
        parameters: in force.
        queries: Q, embeddings of the vocabulary.
        regions: how many go through SAM's decoder.
    """
    method, (rows, columns) = recipe.row, plan.windows_grid
    windows = [{"B": size} for size in _batches(rows * columns, parameters.window_batch)]
    once = {"Wy": rows, "Wx": columns, "B": rows * columns, "Q": queries}
    parts = plan.aggregated if method.affinity else ()
    apart = parameters.refine and plan.aggregated != (plan.sam,)  # SAM runs once more on the whole photo
    calls: dict[str, list[Call]] = {
        "dino": windows if method.proxy else [],
        "clip_image": windows,
        "sam_encoder": [{}] * (len(parts) + apart),
        "head": [{**once, "vh": part.tokens_hw[0], "vw": part.tokens_hw[1]} for part in parts] or [once],
        "sam_decoder": [{"R": size} for size in _batches(regions, parameters.prompt_batch)],
    }
    return {stage: made for stage, made in calls.items() if made}


def product_flops(bundle: Bundle, calls: dict[str, list[Call]]) -> dict[str, int]:
    """Operations of the matrix products and convolutions of a photo, by stage, counted in the graphs.

    All that is no product (norms, softmax, additions) is left out: it takes time and gives no share of a peak that is
    one of products. The FP32 graph is counted where there is one; other precisions compute the same.

    Raises:
        ImportError: the onnx package is not installed.
        ExportError: a shape depends on data.
    """
    from ..graph.flops import COUNTERS, node_flops
    from ..graph.model import load_model

    totals = {}
    for stage, made in calls.items():
        entry = bundle.stage(stage)
        engine = entry.engines.get("fp32") or next(iter(entry.engines.values()))
        model = load_model(bundle.path / engine.files[0].path, weights=False)
        products = [node.name for node in model.graph.node if node.op_type in COUNTERS]
        totals[stage] = 0
        for sizes, times in Counter(tuple(call.items()) for call in made).items():
            shapes = {spec.name: spec.sized(dict(sizes)) for spec in entry.contract.inputs}
            flops = node_flops(model, shapes)
            totals[stage] += times * sum(flops[name] for name in products)
    return totals


def _batches(count: int, size: int) -> list[int]:
    """Sizes of the batches that a number of items is cut into."""
    return [min(size, count - start) for start in range(0, count, size)]
