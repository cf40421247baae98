"""From FP32 graphs to half ones, with weights in INT8 if wanted: which islands, the conversion, its proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ...runtime.boundary.reading import listed
from ...runtime.bundle.bundle import Manifest
from ...runtime.errors import ExportError
from ...runtime.files import is_hidden, sha256_of
from ...runtime.graph.census import take_census
from ...runtime.graph.half import to_half
from ...runtime.graph.islands import (
    CLASSES,
    STANDARD,
    IslandRecipe,
    StageIslands,
    describe,
    island_nodes,
    read_islands,
    write_islands,
)
from ...runtime.graph.model import check_file, load_model, save_model
from ...runtime.graph.products import products, split_gemms, still_there
from ...runtime.graph.qdq import CHANNEL, FORMATS, quantise_weights
from ...runtime.photo.reading import SUFFIXES, demo_photo
from ...runtime.reporting import Reporter
from ...runtime.stage.census import Census, missing_precision
from ...runtime.stage.contract import StageContract
from ...runtime.stage.precision import INT8, INT8W, RESTS
from ..reference.networks import Networks
from .island_search import search_islands

AUTO, NONE, USUAL = "auto", "none", "standard"


LEAST_SCALE = 2.0**-20
"""The least scale of an INT8 weight beside FP16: half of its bits are left there. A smaller channel is nearly dead."""


class HalfConversion:
    """How a bundle's half engines are made from its FP32 graphs."""

    def __init__(self, networks: Networks, precision: str, islands: str = USUAL, photos: Sequence[Path] = ()) -> None:
        """A conversion.

        Args:
            networks: the models, whose outputs the search compares with.
            precision: `fp16`, `bf16`, or `int8w`: FP16, with the weights of products in INT8.
            islands: `standard`, `none`, `auto`, or the path of an islands file.
            photos: what `auto` measures on; at least one.

        Raises:
            RecipeError: the islands file cannot be used.
            ExportError: it is of another precision.
        """
        self.networks, self.precision, self.photos = networks, precision, list(photos)
        self.half = RESTS.get(precision, precision)
        self.searched = islands == AUTO
        fixed = {AUTO: {}, NONE: {}, USUAL: dict.fromkeys(networks.recipe.possible_stages, STANDARD)}
        if islands in fixed:
            self.islands: dict[str, StageIslands] = fixed[islands]
            self._digest = f"{islands} {' '.join(CLASSES)}" if islands == USUAL else islands
        else:
            recipe = read_islands(Path(islands))
            if recipe.precision != self.half:
                raise ExportError(f"{islands} holds islands for {recipe.precision}, not {self.half}")
            self.islands, self._digest = dict(recipe.stages), sha256_of(islands)

    @property
    def variant(self) -> str:
        """Dependencies of a half engine beside its FP32 graph."""
        photos = " ".join(sha256_of(path) for path in self.photos) if self.searched else ""
        tolerances = msgspec.json.encode(self.networks.recipe.tolerances).decode() if self.searched else ""
        return f"{self.precision} {self._digest} {photos} {tolerances}"

    def prepare(self, graphs: Mapping[str, Path], tell: Reporter) -> None:
        """Search for islands, if that is asked for; once for all stages that are to be converted.

        Args:
            graphs: FP32 graphs by stage.
            tell: is told what is found.

        Raises:
            ExportError: a stage or the whole pipeline does not reach the recipe's tolerances.
        """
        if self.searched and graphs:
            self.islands |= search_islands(self.networks, graphs, self.half, self.photos, tell)

    def convert(self, contract: StageContract, source: Path, target: Path, tell: Reporter) -> Census:
        """Make one graph, check it, and count its precisions.

        Raises:
            ExportError: weights do not fit, the graph fails ONNX's checks, or has too little of the precision.
        """
        stage = contract.stage
        model = load_model(source)
        islands = self.islands.get(stage, StageIslands())
        nodes = island_nodes(model, islands)
        if self.precision == INT8W:
            model = split_gemms(model)
            outside = [product for product in products(model, CHANNEL) if product.node not in nodes]
            model = quantise_weights(model, outside, FORMATS[INT8]._replace(least_scale=LEAST_SCALE))
        half = to_half(model, self.half, still_there(model, nodes))
        save_model(half, target)
        check_file(target, f"{stage} in {self.precision}")
        census = take_census(half, contract)
        if problem := missing_precision(census, self.precision):
            raise ExportError(f"{stage} cannot go by {self.precision}: {problem}. Use fewer islands, or FP32.")
        tell(describe(islands, nodes), about=stage, lasting=True)
        return census

    def finish(self, output: Path, manifest: Manifest) -> None:
        """Write the islands beside the engines, for people and for `--islands FILE`."""
        path = output / f"islands.{self.precision}.toml"
        before = read_islands(path).stages if path.is_file() else {}
        stages = {stage: islands for stage, islands in (before | self.islands).items() if stage in manifest.stages}
        write_islands(path, IslandRecipe(precision=self.half, stages=stages))


def calibration_photos(folder: Path | None, most: int = 8) -> list[Path]:
    """The photos that `auto` measures on: at most `most` of a folder's, evenly spaced by name; else the package's.

    Raises:
        ExportError: the folder holds none.
    """
    if folder is None:
        return [demo_photo()]
    photos = (path for path in listed(folder, ExportError) if path.suffix.lower() in SUFFIXES)
    found = [path for path in photos if not is_hidden(path)]
    if not found:
        raise ExportError(f"{folder} holds no photos ({', '.join(sorted(SUFFIXES))})")
    count = min(most, len(found))
    return [found[i * len(found) // count] for i in range(count)]
