"""The search for islands over a whole recipe: every stage against the reference, then the masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ...runtime.backends.base import Session
from ...runtime.errors import ExportError
from ...runtime.graph.emulate import emulated, model_session
from ...runtime.graph.half import to_half
from ...runtime.graph.islands import CLASSES, STANDARD, StageIslands, island_nodes
from ...runtime.graph.model import View, load_model
from ...runtime.graph.search import Case, IslandSearch, Limits
from ...runtime.reporting import Reporter
from ...runtime.stage.contract import StageContract
from ..reference.networks import Networks
from ..reference.trace import Trace

PIPELINE: dict[str, Any] = {"about": "pipeline", "lasting": True}
"""How what concerns the whole is told."""

TURNS = 3
"""How often the stages' tolerances are tightened because the masks differ."""

TIGHTER = 4.0
"""By how much 1 − cosine is lowered each time."""


class _OnDemand(Session):
    """A session that is open only while it runs, since SAM's encoder takes gigabytes."""

    def __init__(self, contract: StageContract, open_it: Callable[[], Session]) -> None:
        super().__init__(contract)
        self._open_it = open_it

    def _execute(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with self._open_it() as session:
            return session.run_unchecked(feeds)


def search_islands(
    networks: Networks, graphs: Mapping[str, Path], precision: str, photos: Sequence[Path], tell: Reporter
) -> dict[str, StageIslands]:
    """Find islands with which every stage, and the pipeline, is within the recipe's tolerances on every photo.

    Args:
        networks: the reference.
        graphs: FP32 graphs of the stages to search; with all stages of the recipe, the masks are compared too.
        precision: `fp16` or `bf16`.
        photos: at least one.
        tell: is told what is found.

    Raises:
        ExportError: the tolerances cannot be reached.
    """
    tolerances = networks.recipe.tolerances
    limits = Limits(tolerances.half_cosine, tolerances.half_relative)
    seen = [networks.family.trace(networks, photo, None) for photo in photos]
    found: dict[str, StageIslands] = {}
    for _ in range(TURNS):
        for stage, path in graphs.items():
            found[stage] = _search_stage(stage, path, networks, seen, precision, limits, found.get(stage), tell)
        if set(networks.recipe.running_stages) - set(graphs):
            event = "masks are not compared, since only some stages are made now; see `ovdeploy parity`"
            tell(event, **PIPELINE)
            return found
        found, share = _search_masks(networks, graphs, found, precision, seen, tell)
        if share >= tolerances.half_labels:
            return found
        limits = Limits(1 - (1 - limits.cosine) / TIGHTER, limits.relative / TIGHTER**0.5)
    raise ExportError(
        f"masks agree on {share:.2%} of pixels in {precision}, {tolerances.half_labels:.2%} are wanted, and tighter "
        f"stages did not help; use FP32, or lower the recipe's tolerances.half_labels"
    )


def _search_stage(
    stage: str,
    path: Path,
    networks: Networks,
    seen: Sequence[Trace],
    precision: str,
    limits: Limits,
    start: StageIslands | None,
    tell: Reporter,
) -> StageIslands:
    cases = [Case(*trace.case(stage)) for trace in seen if stage in trace.stages]
    if not cases:
        event = "did not run on these photos, and gets the usual islands; take photos with regions to refine"
        tell(event, about=stage, lasting=True)
        return STANDARD
    contract = networks.contract(stage)
    search = IslandSearch(
        load_model(path), contract, cases, precision, limits, partial(tell, about=stage, lasting=True)
    )
    islands, _ = search.find(start)
    return islands


def _search_masks(
    networks: Networks,
    graphs: Mapping[str, Path],
    islands: dict[str, StageIslands],
    precision: str,
    seen: Sequence[Trace],
    tell: Reporter,
) -> tuple[dict[str, StageIslands], float]:
    """Add classes to all stages that have them, what decides first, as long as the masks gain and must.

    Stages that agree to four digits can still make other masks: a region whose prompt moves is another region.
    """
    share = _mask_agreement(networks, graphs, islands, precision, seen)
    tell(f"masks agree on {share:.3%} of pixels or more (emulated)", **PIPELINE)
    classes = {stage: stage_classes(path) for stage, path in graphs.items()}
    for name in reversed(CLASSES):
        if share >= networks.recipe.tolerances.half_labels:
            break
        tried = {stage: with_class(old, name) if name in classes[stage] else old for stage, old in islands.items()}
        if tried == islands:
            continue
        came = _mask_agreement(networks, graphs, tried, precision, seen)
        kept = came > share
        verdict = "kept" if kept else "no help"
        tell(f"class {name} everywhere: {verdict}, masks agree on {came:.3%}", **PIPELINE)
        islands, share = (tried, came) if kept else (islands, share)
    return islands, share


def stage_classes(path: Path) -> set[str]:
    """The classes of islands that a graph has members of."""
    view = View(load_model(path))
    return {name for name, members in CLASSES.items() if members(view)}


def with_class(islands: StageIslands, name: str) -> StageIslands:
    """The islands, and a class of nodes."""
    return msgspec.structs.replace(islands, classes=tuple(dict.fromkeys((*islands.classes, name))))


def _mask_agreement(
    networks: Networks,
    graphs: Mapping[str, Path],
    islands: Mapping[str, StageIslands],
    precision: str,
    seen: Sequence[Trace],
) -> float:
    """The least share of pixels on which the emulated pipeline's masks are the reference's, refined or not."""

    def opener(stage: str) -> Callable[[], Session]:
        def open_it() -> Session:
            model = load_model(graphs[stage])
            half = to_half(model, precision, island_nodes(model, islands[stage]))
            return model_session(emulated(half), networks.contract(stage))

        return open_it

    sessions = {
        stage: _OnDemand(networks.contract(stage), opener(stage))
        for stage in graphs
        if stage in networks.recipe.running_stages
    }
    pairs = (pair for trace in seen for pair in networks.family.masks(networks, trace, sessions))
    return min(float(np.mean(came == expected)) for came, expected in pairs)
