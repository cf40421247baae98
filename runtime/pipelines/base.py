"""Interfaces: the ways in which a bundle is opened, whatever its pipeline."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ..answers.result import Result
from ..backends.base import Session
from ..boundary.arguments import public
from ..bundle.bundle import Manifest
from ..errors import BundleError, EngineError, PhotoError
from ..photo.arrays import RGB, check_color
from ..photo.reading import MOST_PIXELS, Photo, Readable, in_color, origin_of, take
from ..reporting import Reporter, silent
from ..stage.precision import FP32
from ..words.vocabulary import Vocabulary
from .batch import in_order, positive
from .encoded import EncodedPhoto
from .engines import Engines, Wrap, as_it_is
from .opening import Reopened, open_bundle
from .prompted import PromptablePhoto


class Segmenter(Reopened, ABC):
    """Segments photos with the engines of one bundle. A context manager.

    Several threads may share one. On the CPU engines run on several photos at once (`segment_many` bounds that; with
    OpenVINO each engine on one at a time); on a GPU, whose buffers are used again, photos take turns. Close it at last.
    One that is pickled is opened again in the process that it is sent to.

    Attributes:
        manifest: the bundle's manifest.
        parameters: the parameters in force, unless a call overrides them.
        engines: the open sessions by stage. They are closed with the segmenter.
    """

    manifest: Manifest
    parameters: Any
    engines: Engines

    @classmethod
    @public()
    def load(
        cls,
        bundle: str | Path,
        *,
        backend: str = "auto",
        precision: str = FP32,
        parameters: Mapping[str, Any] | None = None,
        threads: int | None = None,
        device: int = 0,
        allow_fallback: bool = False,
        allow_host_code: bool = False,
        backend_options: Mapping[str, str] | None = None,
        wrap: Wrap = as_it_is,
    ) -> Segmenter:
        """Open a bundle's engines; the text engine only when a name is not in the cache.

        Args:
            bundle: the folder that `export-engines` wrote.
            backend: "openvino", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", "tensorrt-rtx",
                or "auto": the fastest on a CPU that is installed (see the attribute `backend`).
            precision: one that the bundle holds, or that the backend makes of FP32 (OpenVINO bf16); or "auto":
                the fastest that this processor has instructions for.
            parameters: overrides of the recipe's parameters.
            threads: threads within an operator on the CPU; None leaves the choice to the backend.
            device: which GPU, for backends that use one.
            allow_fallback: whether work that a GPU provider does not take may run on the CPU; else that is an error.
            allow_host_code: whether to open version-compatible TensorRT plans, which bring code; trust their source.
            backend_options: options that this backend alone has: `{"cuda-graphs": "off"}` of tensorrt-rtx.
            wrap: what to put in the place of every session, such as one that records what it is fed.

        Raises:
            BundleError: the bundle is missing, damaged or lacks a stage, has no TensorRT plan for this machine, or its
                pipeline does not segment.
            EngineError: the backend's driver, GPU or provider does not work here.
            ParameterError: an override is unknown, out of range, or baked into the engines.
            MissingExtraError: the backend is not installed.
        """
        opened: Segmenter = open_bundle(
            Segmenter, bundle, backend=backend, precision=precision, parameters=parameters, threads=threads,
            device=device, allow_fallback=allow_fallback, allow_host_code=allow_host_code,
            backend_options=backend_options, wrap=wrap,
        )  # fmt: skip
        return opened

    @property
    def sessions(self) -> Mapping[str, Session]:
        """The open engines by stage."""
        return self.engines

    @property
    def backend(self) -> str:
        """The backend that runs the engines."""
        return self.engines.backend

    @property
    def precision(self) -> str:
        """The precision that they compute in."""
        return self.engines.precision

    @abstractmethod
    def vocabulary(
        self,
        classes: Iterable[str] | None = None,
        *,
        templates: Iterable[str] | None = None,
        background: bool | None = None,
        progress: Reporter = silent,
    ) -> Vocabulary:
        """Embed class names.

        Args:
            classes: one entry a class, synonyms separated by semicolons: `["cup; mug", "table"]`; None means the
                recipe's own, which a preset sets.
            templates: prompts with `{}` for the name; None means the bundle's (CLIP's 80 for ImageNet).
            background: whether class 0 is the background; None means that it is if one of its synonyms is
                "background".
            progress: is told which name is embedded: hundreds take a minute on a CPU, until the cache has them.

        Raises:
            VocabularyError: names are empty, repeated, the same to CLIP, or too long for it.
            BundleError: the text engine is needed and not in the bundle.
        """

    @public("photo", "vocabulary", "color")
    def segment(
        self,
        photo: Photo,
        vocabulary: Vocabulary,
        *,
        parameters: Mapping[str, Any] | None = None,
        color: str = RGB,
    ) -> Result:
        """Name every pixel of a photo.

        Args:
            photo: a path, bytes, BytesIO, a PIL image, or an array of uint8, as `load_photo` takes them. Arrays are
                copied.
            vocabulary: the classes.
            parameters: overrides for this call.
            color: "rgb" or "bgr", the order of an array's colours. OpenCV's are "bgr".

        Raises:
            PhotoError: the photo cannot be read, or is too large for these parameters.
            ParameterError: an override cannot be used, or the threshold needs a background class.
            VocabularyError: the embeddings are not this model's.
            EngineError: an engine failed or returned NaN.
        """
        result = self._prepared(vocabulary, parameters, 1)(in_color(photo, color))
        return replace(result, path=origin_of(photo), bundle=self.engines.bundle)

    @public("vocabulary", "color")
    def segment_many(
        self,
        photos: Iterable[Photo],
        vocabulary: Vocabulary,
        *,
        parameters: Mapping[str, Any] | None = None,
        workers: int | None = None,
        engines: int = 1,
        color: str = RGB,
    ) -> Generator[Result | PhotoError | EngineError, None, None]:
        """Segment photos, several at once: one is decoded or merged while engines run on another.

        Photos are taken as they are needed, and never more than `workers` + 1 of them are in work or wait to be given.

        Args:
            photos: as `segment` takes them, of any kinds. An array is copied when it is taken, before the next one is
                asked for, so one buffer may be filled again and again.
            vocabulary: the classes.
            parameters: overrides for this call.
            workers: photos in work at once, each in a thread; None means one more than `engines`.
            engines: photos on which engines may run at once. More than 1 pays where engines cannot use all cores: small
                models, many cores (then give `load` fewer threads). Each takes memory of its own. On a GPU it is 1.
            color: "rgb" or "bgr", the order of the arrays' colours.

        Returns:
            An iterator of results in the photos' order. In the place of a photo that cannot be read, or on which an
            engine fails, stands the error; the others are still done. Close it to stop early.

        Raises:
            ParameterError: as `segment`; or `workers` or `engines` is below 1.
            VocabularyError: as `segment`.
        """
        check_color(color)
        one = self._prepared(vocabulary, parameters, positive("engines", engines))
        max_pixels = (parameters or {}).get("max_pixels", getattr(self.parameters, "max_pixels", MOST_PIXELS))

        def attempt(photo: str | Path | Readable | PhotoError) -> Result | PhotoError | EngineError:
            if isinstance(photo, PhotoError):
                return photo
            try:
                return replace(one(photo), path=origin_of(photo), bundle=self.engines.bundle)
            except (PhotoError, EngineError) as error:  # of this photo; the next may be fine
                return error

        taken = map(partial(take, max_pixels=max_pixels, color=color), photos)
        return in_order(attempt, taken, engines + 1 if workers is None else workers)

    @abstractmethod
    def _prepared(
        self, vocabulary: Vocabulary, parameters: Mapping[str, Any] | None, engines: int
    ) -> Callable[[Photo], Result]:
        """What segments a photo after the words and the overrides of a call were checked; threads may share it.

        Args:
            vocabulary: the classes.
            parameters: overrides for this call.
            engines: photos on which engines may run at once.

        Raises:
            ParameterError, VocabularyError: as `segment`.
        """

    def encode(self, photo: Photo, *, parameters: Mapping[str, Any] | None = None, color: str = RGB) -> EncodedPhoto:
        """Encode a photo once, to ask about it with one vocabulary after another.

        Args:
            photo: as `segment` takes it.
            parameters: overrides for this photo.
            color: the order of an array's colours.

        Raises:
            BundleError: the bundle's pipeline encodes photos only for given words.
            PhotoError, ParameterError, EngineError: as `segment`.
        """
        raise BundleError(f"a bundle of {self.manifest.recipe.name!r} encodes photos for given words alone")

    def load_encoded(self, path: str | Path) -> EncodedPhoto:
        """Read a photo that `EncodedPhoto.save` wrote, encoded by the same bundle on whichever backend.

        Args:
            path: the file.

        Raises:
            BundleError: as `encode`.
            PhotoError: it is missing, damaged, something else, or of another bundle.
        """
        raise BundleError(f"a bundle of {self.manifest.recipe.name!r} encodes photos for given words alone")

    def prompt(self, photo: Photo, *, color: str = RGB) -> PromptablePhoto:
        """Encode a photo once for interactive prompts: points, boxes and masks, as with SamPredictor.

        Args:
            photo: as `segment` takes it.
            color: the order of an array's colours.

        Raises:
            BundleError: the bundle holds nothing to prompt, or was exported without the stage for it.
            PhotoError: the photo cannot be read.
            EngineError: an engine failed or returned NaN.
        """
        raise BundleError(f"a bundle of {self.manifest.recipe.name!r} has nothing to prompt")

    @abstractmethod
    def warmup(self) -> None:
        """Run everything once on a photo of noise, so that the first real photo does not pay for the start."""

    def close(self) -> None:
        """Free all engines."""
        self.engines.close()

    def is_closed(self) -> bool:
        """Whether the engines were freed."""
        return self.engines.is_closed


def open_trial(bundle: str | Path, **how: Any) -> Segmenter:
    """What `bench` and `calibrate` run on photos: a segmenter, or what stands for one. As `open_bundle` else."""
    return open_bundle(Segmenter, bundle, find=lambda opened: opened.recipe.family.trial, **how)  # type: ignore[no-any-return]
