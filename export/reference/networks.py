"""All networks of a recipe, with their weights: what is exported, and what the reference runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ...runtime.bundle.bundle import Provenance
from ...runtime.errors import ExportError, RecipeError
from ...runtime.geometry.dimensions import Dimensions
from ...runtime.recipe.recipe import Recipe
from ..models.weights import load_model
from .embed import Upstream
from .promptable.sam_prompt_decoder import SamPromptDecoder
from .training_free.calibrated import CalibratedClipImage
from .training_free.clip_image import ClipImage, ClipTower
from .training_free.clip_layers import ClipLayers
from .training_free.dino import Dino
from .training_free.head import HEADS
from .training_free.sam_decoder import SamDecoder
from .training_free.sam_encoder import SAM_ENCODERS, SamImage
from .training_free.text_encoder import TextEncoder

TOWERS: dict[str, Callable[..., ClipTower]] = {"path": ClipImage, "calibrated": CalibratedClipImage}
"""By the methods table's name."""


@dataclass(frozen=True)
class Networks:
    """The foundation models of a recipe, and a module for every stage."""

    recipe: Recipe
    models: Mapping[str, Upstream]
    provenance: Mapping[str, Provenance]

    @classmethod
    def load(cls, recipe: Recipe, weights: Mapping[str, str | None] | None = None) -> Networks:
        """Make the models and fill them.

        Args:
            recipe: names the models.
            weights: by role, `pretrained`, `random:SEED` or a path; what is missing comes from the recipe.

        Raises:
            RecipeError: a model does not exist, or the crop does not fit its patch.
            WeightsError: weights cannot be had or do not fit.
            ExportError: the model's architecture is not one that the stages can wrap.
        """
        sources = weights or {}
        loaded = {role: load_model(role, choice, sources.get(role)) for role, choice in recipe.models.items()}
        networks = cls(recipe, {r: m for r, (m, _) in loaded.items()}, {r: p for r, (_, p) in loaded.items()})
        networks._check()
        return networks

    @cached_property
    def dimensions(self) -> Dimensions:
        """The sizes that the engines fix."""
        clip, sam = self.models["clip"], self.models.get("sam")
        sizes: dict[str, Any] = {}
        if sam is not None:
            sizes = {
                "sam_side": sam.image_encoder.img_size,
                "sam_grid": sam.prompt_encoder.image_embedding_size[0],
                "sam_padding": tuple(sam.pixel_mean.flatten().tolist()),
            }
        return Dimensions(
            clip_patch=clip.visual.patch_size[0],
            feature_grid=self._feature_grid,
            embedding=clip.visual.output_dim,
            context_length=clip.context_length,
            **sizes,
        )

    @cached_property
    def modules(self) -> dict[str, Upstream]:
        """A module for every stage that the recipe may have, optional ones included, in evaluation mode."""
        method, parameters = self.recipe.row, self.recipe.parameters
        clip, sam = self.models["clip"], self.models.get("sam")
        makers = {
            "text_encoder": lambda: TextEncoder(clip),
            "dino": lambda: self.extractor,
            "clip_image": lambda: TOWERS[method.tower](clip.visual, self._feature_grid, method, parameters),
            "sam_encoder": lambda: (SAM_ENCODERS[parameters.affinity_kind] if method.affinity else SamImage)(sam),
            "head": lambda: HEADS[method.across](clip.visual, self.dimensions.sam_grid),
            "sam_decoder": lambda: SamDecoder(sam, parameters.as_published, parameters.prompts),
            "sam_prompt_decoder": lambda: SamPromptDecoder(sam),
            "clip_layers": lambda: ClipLayers(clip.visual, parameters.crop),
        }
        return {stage: makers[stage]().eval().requires_grad_(False) for stage in self.recipe.possible_stages}

    @cached_property
    def extractor(self) -> Dino:
        """The feature extractor of a method with a proxy."""
        return Dino(self.models["dino"], self.recipe.parameters.crop).eval().requires_grad_(False)

    @property
    def _feature_grid(self) -> tuple[int, int]:
        """Rows and columns of a window's features: the extractor's, or CLIP's patches without it."""
        if self.recipe.row.proxy:
            return self.extractor.grid
        side = self.recipe.parameters.crop // self.models["clip"].visual.patch_size[0]
        return side, side

    def _check(self) -> None:
        visual: Upstream = getattr(self.models["clip"], "visual", None)
        needed = ("conv1", "positional_embedding", "transformer", "ln_post", "proj")
        missing = [name for name in needed if getattr(visual, name, None) is None]
        if missing or getattr(visual, "attn_pool", None) is not None:
            raise ExportError(
                f"clip model {self.recipe.clip.model!r} is not a plain CLIP vision transformer "
                f"({', '.join(missing) or 'it has a pooling of its own'}); choose a ViT such as ViT-B-16-quickgelu"
            )
        patch, depth = visual.patch_size[0], len(visual.transformer.resblocks)
        if self.recipe.parameters.crop % patch:
            raise RecipeError(f"crop={self.recipe.parameters.crop} must be a multiple of CLIP's patch, {patch}")
        if any(layer >= depth for layer in self.recipe.parameters.similarity_layers):
            raise RecipeError(
                f"similarity_layers={list(self.recipe.parameters.similarity_layers)}: blocks are counted from 1, and "
                f"the last that can be used of this CLIP's {depth} is {depth - 1}"
            )
