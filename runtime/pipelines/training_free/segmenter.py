"""The pipeline: a photo and a vocabulary in, a labelled mask out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from ...backends.base import HOST, Session
from ...backends.options import SessionOptions
from ...backends.registry import choose_backend
from ...bundle.bundle import Bundle, Manifest
from ...bundle.opening import open_stage
from ...errors import BundleError, EngineError, ParameterError, PhotoError, VocabularyError
from ...labelling.result import Result
from ...recipe.parameters import Parameters, with_overrides
from ...words.vocabulary import Vocabulary, check_vocabulary, parse_classes
from ..batch import in_order, positive
from ..promptable.interactive import DECODER, PromptablePhoto, Prompter
from ..text_embedder import TextEmbedder, text_embedder
from .encoding import Sessions
from .steps import Turns, segment_photo


class Segmenter:
    """Segments photos with the engines of one bundle. A context manager.

    Several threads may share one. On the CPU engines run on several photos at once (`segment_many` bounds that; with
    OpenVINO each engine on one at a time); on a GPU, whose buffers are used again, photos take turns. Close it at last.

    Attributes:
        manifest: the bundle's manifest.
        parameters: the parameters in force, unless a call overrides them.
        backend: what runs the engines.
        precision: what they compute in.
    """

    def __init__(
        self,
        manifest: Manifest,
        sessions: Sessions,
        *,
        embedder: TextEmbedder | None = None,
        parameters: Mapping[str, Any] | None = None,
        backend: str = "",
        precision: str = "",
        open_stage: Callable[[str], Session] | None = None,
    ) -> None:
        """A segmenter over sessions that are open already (`Segmenter.load` opens a bundle's).

        Args:
            manifest: describes the engines.
            sessions: by stage; all of the recipe's but `text_encoder`.
            embedder: turns names into embeddings; None if vocabularies come with theirs.
            parameters: overrides of the recipe's.
            backend, precision: what runs the sessions, and what they compute in, for information.
            open_stage: opens the session of an optional stage when it is first needed.
        """
        self.manifest = manifest
        self.backend = backend
        self.precision = precision
        self._sessions = dict(sessions)
        self._open_stage = open_stage
        self._embedder = embedder
        self._method = manifest.recipe.row
        self._opening = threading.Lock()
        on_host = all(session.device == HOST for session in sessions.values())
        self._turn: AbstractContextManager[Any] = nullcontext() if on_host else threading.RLock()
        needed = set(self._method.stages(with_sam=False)) - {"text_encoder", "sam_decoder"}
        if missing := sorted(needed - set(sessions)):
            raise BundleError(f"method {manifest.recipe.method!r} needs a session for {', '.join(missing)}")
        self.parameters = self._parameters(manifest.recipe.parameters, parameters)

    @classmethod
    def load(
        cls,
        bundle: str | Path,
        *,
        backend: str = "auto",
        precision: str = "fp32",
        parameters: Mapping[str, Any] | None = None,
        threads: int | None = None,
        device: int = 0,
        allow_fallback: bool = False,
        allow_host_code: bool = False,
        wrap: Callable[[Session], Session] = lambda session: session,
    ) -> Segmenter:
        """Open a bundle's engines; the text engine only when a name is not in the cache.

        Args:
            bundle: the folder that `export-engines` wrote.
            backend: "openvino", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt", "tensorrt", or "auto": the
                fastest on a CPU that is installed (see the attribute `backend`).
            precision: one that the bundle holds, or that the backend makes of FP32 (OpenVINO bf16).
            parameters: overrides of the recipe's parameters.
            threads: threads within an operator on the CPU; None leaves the choice to the backend.
            device: which GPU, for backends that use one.
            allow_fallback: whether work that a GPU provider does not take may run on the CPU; else that is an error.
            allow_host_code: whether to open version-compatible TensorRT plans, which bring code; trust their source.
            wrap: what to put in the place of every session, such as one that records what it is fed.

        Raises:
            BundleError: the bundle is missing, damaged or lacks a stage, or has no TensorRT plan for this machine.
            EngineError: the backend's driver, GPU or provider does not work here.
            ParameterError: an override is unknown, out of range, or baked into the engines.
            MissingExtraError: the backend is not installed.
        """
        opened = Bundle.load(bundle)
        with_overrides(opened.recipe.parameters, parameters)  # a wrong name should not wait for the engines
        chosen = choose_backend(backend, precision)
        options = SessionOptions(
            threads=threads, device=device, allow_fallback=allow_fallback, allow_host_code=allow_host_code
        )

        def session(stage: str) -> Session:
            return wrap(open_stage(opened, stage, precision, chosen, options))

        sessions = {stage: session(stage) for stage in opened.recipe.stages if stage != "text_encoder"}
        return cls(
            opened.manifest,
            sessions,
            embedder=text_embedder(opened, precision, chosen, lambda: session("text_encoder")),
            parameters=parameters,
            backend=chosen,
            precision=precision,
            open_stage=session,
        )

    @property
    def sessions(self) -> Sessions:
        """The open engines by stage. They are closed with the segmenter."""
        return MappingProxyType(self._sessions)

    def vocabulary(
        self,
        classes: Sequence[str] | None = None,
        *,
        templates: Sequence[str] | None = None,
        background: bool | None = None,
    ) -> Vocabulary:
        """Embed class names.

        Args:
            classes: one entry a class, synonyms separated by semicolons: `["cup; mug", "table"]`; None means the
                recipe's own, which a preset sets.
            templates: prompts with `{}` for the name; None means the bundle's (CLIP's 80 for ImageNet).
            background: whether class 0 is the background; None means that it is if one of its synonyms is
                "background".

        Raises:
            VocabularyError: names are empty or repeated.
            BundleError: the text engine is needed and not in the bundle.
        """
        if self._embedder is None:
            raise VocabularyError("there is no text engine here; use Vocabulary.load or Vocabulary(names, embeddings)")
        if classes is None:
            recipe = self.manifest.recipe
            if not recipe.classes:
                raise VocabularyError(f"the recipe {recipe.name!r} has no classes of its own; name some")
            classes = recipe.classes
            background = recipe.background if background is None else background
        prompts = self.manifest.templates if templates is None else templates
        words = [word for synonyms in parse_classes(classes) for word in synonyms]
        with self._turn:
            embeddings = np.stack([self._embedder.embed(word, prompts) for word in words])
        return Vocabulary(classes, embeddings, background=background)

    def segment(
        self,
        photo: str | Path | np.ndarray,
        vocabulary: Vocabulary,
        *,
        parameters: Mapping[str, Any] | None = None,
    ) -> Result:
        """Name every pixel of a photo.

        Args:
            photo: a path, or [H, W, 3] uint8 RGB.
            vocabulary: the classes.
            parameters: overrides for this call.

        Raises:
            PhotoError: the photo cannot be read.
            ParameterError: an override cannot be used, or the threshold needs a background class.
            VocabularyError: the embeddings are not this model's.
            EngineError: an engine failed or returned NaN.
        """
        turns = Turns(self._turn, nullcontext())
        settings = self._settings(vocabulary, parameters)
        return self._segment(photo, vocabulary, settings, turns)

    def segment_many(
        self,
        photos: Iterable[str | Path | np.ndarray],
        vocabulary: Vocabulary,
        *,
        parameters: Mapping[str, Any] | None = None,
        workers: int | None = None,
        engines: int = 1,
    ) -> Generator[Result | PhotoError | EngineError, None, None]:
        """Segment photos, several at once: one is decoded or merged while engines run on another.

        Photos are taken as they are needed, and never more than `workers` + 1 of them are in work or wait to be given.

        Args:
            photos: paths, or [H, W, 3] uint8 RGB.
            vocabulary: the classes.
            parameters: overrides for this call.
            workers: photos in work at once, each in a thread; None means one more than `engines`.
            engines: photos on which engines may run at once. More than 1 pays where engines cannot use all cores: small
                models, many cores (then give `load` fewer threads). Each takes memory of its own. On a GPU it is 1.

        Returns:
            An iterator of results in the photos' order. In the place of a photo that cannot be read, or on which an
            engine fails, stands the error; the others are still done. Close it to stop early.

        Raises:
            ParameterError: as `segment`; or `workers` or `engines` is below 1.
            VocabularyError: as `segment`.
        """
        settings = self._settings(vocabulary, parameters)
        turns = Turns(self._turn, threading.Semaphore(positive("engines", engines)))

        def attempt(photo: str | Path | np.ndarray) -> Result | PhotoError | EngineError:
            try:
                return self._segment(photo, vocabulary, settings, turns)
            except (PhotoError, EngineError) as error:  # of this photo; the next may be fine
                return error

        return in_order(attempt, photos, engines + 1 if workers is None else workers)

    def _segment(
        self, photo: str | Path | np.ndarray, vocabulary: Vocabulary, settings: Parameters, turns: Turns
    ) -> Result:
        result = segment_photo(photo, vocabulary, self.manifest, self._sessions, settings, turns)
        return replace(result, backend=self.backend, precision=self.precision)

    def prompt(self, photo: str | Path | np.ndarray) -> PromptablePhoto:
        """Encode a photo once for interactive prompts: points, boxes and masks, as with SamPredictor.

        Args:
            photo: a path, or [H, W, 3] uint8 RGB.

        Raises:
            BundleError: the bundle holds no SAM, or was exported without `sam_prompt_decoder`.
            PhotoError: the photo cannot be read.
            EngineError: an engine failed or returned NaN.
        """
        if "sam_encoder" not in self._sessions:
            raise BundleError(f"this bundle of {self.manifest.recipe.name!r} has no SAM, and so nothing to prompt")
        with self._opening:
            if DECODER not in self._sessions:
                if self._open_stage is None:
                    raise BundleError(f"this segmenter has no session for {DECODER}, which prompts need")
                self._sessions[DECODER] = self._open_stage(DECODER)
        engines = (self._sessions["sam_encoder"], self._sessions[DECODER])
        with self._turn:
            return Prompter(self.manifest.dimensions, *engines, self.parameters).encode(photo)

    def warmup(self) -> None:
        """Run everything once on a photo of noise, so that the first real photo does not pay for the start."""
        rng = np.random.default_rng(0)
        photo = rng.integers(0, 256, (self.parameters.short_side, self.parameters.short_side, 3), np.uint8)
        embeddings = rng.standard_normal((2, self.manifest.dimensions.embedding))
        anything = {"probability_threshold": 0.0, "max_pixels": photo.size}
        self.segment(photo, Vocabulary(["a", "b"], embeddings), parameters=anything)
        for session in self._sessions.values():
            session.tune()

    def close(self) -> None:
        """Free all engines."""
        for session in self._sessions.values():
            session.close()
        if self._embedder is not None:
            self._embedder.close()

    def __enter__(self) -> Segmenter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _settings(self, vocabulary: Vocabulary, overrides: Mapping[str, Any] | None) -> Parameters:
        """The parameters of a call, checked together with its vocabulary."""
        settings = self._parameters(self.parameters, overrides)
        check_vocabulary(vocabulary, self.manifest.dimensions.embedding, settings.probability_threshold)
        return settings

    def _parameters(self, base: Parameters, overrides: Mapping[str, Any] | None) -> Parameters:
        settings = with_overrides(base, overrides)
        if settings.refine and not {"sam_encoder", "sam_decoder"} <= set(self._sessions):
            raise ParameterError(
                f"refine=True needs SAM, and this bundle of {self.manifest.recipe.name!r} has none. "
                f"Add a [sam] table with a model to the recipe and run export-engines again."
            )
        return settings
