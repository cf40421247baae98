"""Interactive prompts: encode a photo once, then ask SAM for masks by points, boxes and masks as often as you like.

The manner and the results are those of segment_anything's SamPredictor, on engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from ...backends.base import HOST, Session
from ...boundary.arguments import public
from ...bundle.bundle import Bundle
from ...geometry.dimensions import SamDimensions
from ...photo.arrays import RGB
from ...photo.reading import Photo, Taken, as_photo, origin_of
from ...recipe.parameters import with_overrides
from ...recipe.pipeline import Interface
from ...reporting import Clock, Reporter, silent
from ..engines import Engines
from ..opening import Reopened, open_bundle
from ..prompted import PromptablePhoto
from .everything.answer import Everything
from .everything.mode import find_everything
from .everything.parameters import POINTS_ON_CPU, POINTS_ON_GPU, EverythingParameters
from .parameters import PromptingParameters
from .photo_encoder import PhotoEncoder
from .stages import ENCODER, PROMPT_DECODER


class Prompter(Reopened):
    """SAM's engines of a bundle, without the rest of the pipeline. A context manager.

    One that is pickled is opened again in the process that it is sent to.

    Attributes:
        backend: what runs the engines; empty where nobody said.
        precision: what they compute in, likewise.
        bundle: the digest of the bundle that they are of, likewise.
    """

    def __init__(
        self,
        dimensions: SamDimensions,
        encoder: Session,
        decoder: Session,
        parameters: Any = None,
        turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (holds nothing)
        *,
        backend: str = "",
        precision: str = "",
        bundle: str = "",
    ) -> None:
        """A prompter over sessions that are open already (`Prompter.load` opens a bundle's).

        Args:
            dimensions: the bundle's.
            encoder: SAM's image encoder, with or without the affinity.
            decoder: SAM's decoder for prompts of any kind.
            parameters: `max_pixels` and `prompt_batch` are used.
            turn: held while an engine runs: those of a GPU are for one thread at a time.
            backend, precision, bundle: of the engines, for information.
        """
        self._dimensions = dimensions
        self._encoder = encoder
        self._decoder = decoder
        self._turn = turn
        self._parameters = parameters or PromptingParameters()
        self._closed = False
        self.backend, self.precision, self.bundle = backend, precision, bundle

    @classmethod
    @public()
    def load(
        cls,
        bundle: str | Path,
        *,
        backend: str = "auto",
        precision: str = "fp32",
        threads: int | None = None,
        device: int = 0,
        allow_fallback: bool = False,
        allow_host_code: bool = False,
        backend_options: Mapping[str, str] | None = None,
    ) -> Prompter:
        """Open a bundle's two engines for prompts.

        Args:
            bundle: the folder that `export-engines` wrote.
            backend: what runs the engines, or "auto" for the fastest on a CPU that is installed.
            precision: one that the bundle holds, or that the backend makes of FP32.
            threads: threads within an operator on the CPU; None leaves the choice to the backend.
            device: which GPU, for backends that use one.
            allow_fallback: whether work that a GPU provider does not take may run on the CPU; else that is an error.
            allow_host_code: whether version-compatible TensorRT plans may be opened, from sources that you trust.
            backend_options: options that only this backend has, by name.

        Raises:
            BundleError: the bundle is missing, damaged or lacks a stage.
            MissingExtraError: the backend is not installed.
        """
        opened: Prompter = open_bundle(
            Prompter, bundle, backend=backend, precision=precision, threads=threads, device=device,
            allow_fallback=allow_fallback, allow_host_code=allow_host_code, backend_options=backend_options,
        )  # fmt: skip
        return opened

    @public("photo", "color")
    def encode(self, photo: Photo, *, color: str = RGB) -> PromptablePhoto:
        """Encode a photo, as the model's own predictor does it: nothing is aligned to patches.

        Args:
            photo: as `load_photo` takes it.
            color: "rgb" or "bgr", the order of an array's colours.

        Raises:
            PhotoError: the photo cannot be read.
            ParameterError: there is no such order of colours.
            EngineError: the engine failed or returned NaN.
        """
        clock = Clock()
        with clock("decode"):
            image = as_photo(photo, self._parameters.max_pixels, color)
        engines = PhotoEncoder(self._dimensions, self._encoder, self._decoder, self._parameters, self._turn)
        return engines.encoded(image, engines.features(image, clock), clock)

    @public("photo")
    def everything(
        self,
        photo: Photo,
        *,
        color: str = RGB,
        parameters: Mapping[str, Any] | None = None,
        grids: Any = None,
        progress: Reporter = silent,
    ) -> Everything:
        """All things that a grid of points finds in a photo, as SamAutomaticMaskGenerator finds them.

        SAM's decoder takes about 0.15 CPU-seconds a point, so that on a CPU the grid has 16 × 16 points unless
        `points_per_side` says otherwise; on a GPU it has the published 32 × 32.

        Args:
            photo: as `load_photo` takes it.
            color: "rgb" or "bgr", the order of an array's colours.
            parameters: values of `EverythingParameters` by name; None means the defaults.
            grids: the points themselves, instead of `points_per_side`: [n, 2] x y as shares of width and height, for
                the whole photo and then for each layer of crops (point_grids).
            progress: is told how far it is.

        Raises:
            PhotoError: the photo cannot be read.
            ParameterError: a parameter is unknown or out of range, or there is no such order of colours.
            PromptError: the grids are none.
            EngineError: an engine failed or returned NaN.
        """
        settings, clock = with_overrides(EverythingParameters(), parameters), Clock()
        with clock("decode"):
            image = as_photo(photo, self._parameters.max_pixels, color)
        own = self._with_batch(settings.prompt_batch)
        side = settings.points_per_side or self.points_per_side
        found = find_everything(image, lambda part: own.encode(Taken(part)), settings, side, grids, clock, progress)
        return replace(found, path=origin_of(photo), backend=self.backend, precision=self.precision, bundle=self.bundle)

    @property
    def points_per_side(self) -> int:
        """Points along a side of the grid of `everything`, unless a parameter says otherwise."""
        return POINTS_ON_CPU if self._decoder.device == HOST else POINTS_ON_GPU

    def _with_batch(self, batch: int | None) -> Prompter:
        """A prompter on the same engines that asks so many points at a time; itself for None."""
        if batch is None:
            return self
        parameters = msgspec.structs.replace(self._parameters, prompt_batch=batch)
        return Prompter(self._dimensions, self._encoder, self._decoder, parameters, self._turn)

    def close(self) -> None:
        """Free both engines."""
        self._closed = True
        self._encoder.close()
        self._decoder.close()

    def is_closed(self) -> bool:
        """Whether they were freed."""
        return self._closed


def open_prompter(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> Prompter:
    """The prompter of a bundle that holds the two stages which promptable pipelines have in common."""
    engines.open((ENCODER, PROMPT_DECODER))
    settings = bundle.recipe.override(parameters)
    return Prompter(
        bundle.manifest.dimensions, engines[ENCODER], engines[PROMPT_DECODER], settings, engines.turn,
        backend=engines.backend, precision=engines.precision, bundle=engines.bundle,
    )  # fmt: skip


PROMPTING = Interface(open=open_prompter, stages=(ENCODER, PROMPT_DECODER))
"""How a pipeline with those stages is opened as a `Prompter`."""
