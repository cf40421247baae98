"""Objects through a video: prompt them on some frames, and step through the others.

The loop and its results are those of transformers' `Sam2VideoModel`, on engines, frame by frame: no video is held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from ...backends.base import Session
from ...boundary.arguments import public
from ...bundle.bundle import Bundle
from ...errors import EngineError, ParameterError, PromptError, warn
from ...geometry.bands import resize
from ...photo.arrays import RGB
from ...photo.reading import Photo, as_photo
from ...recipe.pipeline import Interface
from ...reporting import Clock
from ..engines import Engines
from ..opening import Reopened, open_bundle
from ..prompt_input import Prompt
from ..promptable.stages import ENCODER
from .answers import Tracked, TrackedObject, apart, same_photo
from .calls import Calls, Seen
from .choosing import filled
from .following import Following, Place
from .memory import Moment
from .parameters import TrackingParameters
from .sizes import TrackingDimensions
from .stages import MEMORY_ATTENTION, MEMORY_ENCODER, TRACK_DECODER

STAGES = (ENCODER, TRACK_DECODER, MEMORY_ENCODER, MEMORY_ATTENTION)


class Tracker(Reopened):
    """The engines of a model with a memory, and what they remember of the objects of one video. A context manager.

    One that is pickled is opened again, without its objects, in the process that it is sent to.

    Attributes:
        backend: what runs the engines; empty where nobody said.
        precision: what they compute in, likewise.
    """

    def __init__(
        self,
        dimensions: TrackingDimensions,
        sessions: Mapping[str, Session],
        parameters: Any = None,
        turn: AbstractContextManager[Any] = nullcontext(),  # noqa: B008 (holds nothing)
        *,
        backend: str = "",
        precision: str = "",
    ) -> None:
        """A tracker over sessions that are open already (`Tracker.load` opens a bundle's).

        Args:
            dimensions: the bundle's.
            sessions: its four engines by stage.
            parameters: `TrackingParameters`.
            turn: held while engines run: those of a GPU are for one thread at a time.
            backend, precision: of the engines, for information.
        """
        self._sessions, self._turn, self._closed = sessions, turn, False
        self._calls = Calls(sessions, dimensions, parameters or TrackingParameters())
        self.backend, self.precision = backend, precision
        self.reset()

    @classmethod
    @public()
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
        backend_options: Mapping[str, str] | None = None,
    ) -> Tracker:
        """Open a bundle's engines for videos.

        Args:
            bundle: the folder that `export-engines` wrote, of a recipe whose pipeline is "tracking".
            backend: what runs the engines, or "auto" for the fastest on a CPU that is installed.
            precision: one that the bundle holds, or that the backend makes of FP32.
            parameters: values of `TrackingParameters` by name.
            threads: threads within an operator on the CPU; None leaves the choice to the backend.
            device: which GPU, for backends that use one.
            allow_fallback: whether work that a GPU provider does not take may run on the CPU; else that is an error.
            allow_host_code: whether version-compatible TensorRT plans may be opened, from sources that you trust.
            backend_options: options that only this backend has, by name.

        Raises:
            BundleError: the bundle is missing, damaged, lacks a stage, or its model has no memory.
            ParameterError: a parameter is unknown or out of range.
            MissingExtraError: the backend is not installed.
        """
        opened: Tracker = open_bundle(
            Tracker, bundle, backend=backend, precision=precision, parameters=parameters, threads=threads,
            device=device, allow_fallback=allow_fallback, allow_host_code=allow_host_code,
            backend_options=backend_options,
        )  # fmt: skip
        return opened

    @public("frame", "color")
    def prompt(
        self,
        frame: Photo,
        object_id: int,
        *,
        points: Any = None,
        labels: Any = None,
        box: Any = None,
        mask: Any = None,
        index: int | None = None,
        reverse: bool = False,
        color: str = RGB,
    ) -> TrackedObject:
        """Say where an object is on a frame: one that is not tracked yet, or one whose mask there is to be corrected.

        On a frame that the object was tracked on (one of the last 16) it is a correction, which reads the object's
        memory; on another frame it begins anew, and that is never forgotten. A second prompt replaces the first on the
        same frame: give all points again.

        Args:
            frame: as `load_photo` takes it.
            object_id: the object's number, which results tell.
            points: [N, 2], x y in the frame's pixels.
            labels: [N], 1 for a point on the object, 0 for one off it; None means that all are on it.
            box: [4], x₀ y₀ x₁ y₁ in the frame's pixels.
            mask: [H, W] bool, the object itself; without points and box.
            index: of the frame; None means the present one where the pixels are its, else the next one.
            reverse: whether the video runs backward.
            color: "rgb" or "bgr", the order of an array's colours.

        Raises:
            PhotoError: the frame cannot be read.
            ParameterError: `index` is None, and another frame was prompted and not stepped on yet.
            PromptError: nothing is given, a mask beside something else, or something of a wrong shape or value.
            EngineError: an engine failed or returned NaN.
        """
        if mask is not None and not (points is None and labels is None and box is None):
            raise PromptError("a mask is the object's answer; give it alone, or points and a box without a mask")
        self._refuse_closed()
        self._calls.clock = Clock()
        photo = as_photo(frame, self._calls.parameters.max_pixels, color)
        place = Place(self._index_of(photo, index, reverse, again=True), reverse)
        with self._turn, self._unmoved():
            seen = self._see(photo, place.frame)
            moment = self._following.prompt(seen, place, object_id, Prompt(points, labels, box), mask)
        return self._told(seen, {object_id: moment})[0]

    @public("frame", "color")
    def step(self, frame: Photo, *, index: int | None = None, reverse: bool = False, color: str = RGB) -> Tracked:
        """All objects on a frame. Objects that are prompted on it keep that answer; all others are found by memory.

        Args:
            frame: as `load_photo` takes it.
            index: of the frame; None means the one that was prompted and not stepped on yet, else the next one.
            reverse: whether the video runs backward: later frames are read instead of earlier ones.
            color: "rgb" or "bgr", the order of an array's colours.

        Raises:
            PhotoError: the frame cannot be read.
            ParameterError: `index` is None, and another frame was prompted and not stepped on yet.
            EngineError: an engine failed or returned NaN.
        """
        self._refuse_closed()
        clock = self._calls.clock = Clock()
        with clock("decode"):
            photo = as_photo(frame, self._calls.parameters.max_pixels, color)
        at = self._index_of(photo, index, reverse)
        with self._turn, self._unmoved():
            seen = self._see(photo, at)
            moments = self._following.step(seen, Place(at, reverse))
        self._stepped = True
        with clock("masks"):
            objects = self._told(seen, moments)
        return Tracked(at, objects, (photo.shape[0], photo.shape[1]), clock.timings())

    @public()
    def forget(self, object_id: int) -> None:
        """Track an object no longer; one that is not tracked is none already.

        Args:
            object_id: its number.
        """
        self._following.objects.pop(object_id, None)

    def reset(self) -> None:
        """Forget all objects and frames: the next frame is the first of a video."""
        self._following = Following(self._calls)
        self._seen: Seen | None = None
        self._index, self._stepped = 0, False

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects' numbers, in the order in which they joined."""
        return tuple(self._following.objects)

    @property
    def next_index(self) -> int:
        """The index that the next frame of a video that runs forward gets."""
        return self._next(1)

    def _next(self, way: int) -> int:
        return self._index + way if self._stepped else self._index

    def _index_of(self, photo: np.ndarray, index: int | None, reverse: bool, again: bool = False) -> int:
        """The index that is given or meant; `again` where the present frame, stepped on, is meant by its pixels."""
        if index is not None:
            return index
        present = self._seen is not None and same_photo(self._seen.photo, photo)
        if not (present or self._stepped or self._seen is None):
            raise ParameterError(
                f"frame {self._index} was prompted and not stepped on yet, and this is another frame: step on that one "
                "first, or give this one's index"
            )
        return self._index if present and again else self._next(-1 if reverse else 1)

    @contextmanager
    def _unmoved(self) -> Iterator[None]:
        """The video stands where it stood, if this fails."""
        before = self._seen, self._index, self._stepped
        try:
            yield
        except BaseException:
            self._seen, self._index, self._stepped = before
            raise

    def _see(self, photo: np.ndarray, index: int) -> Seen:
        """The frame, encoded unless it is the present one."""
        if self._seen is None or not same_photo(self._seen.photo, photo):
            if self._seen is not None and self.object_ids and self._seen.photo.shape != photo.shape:
                was, now = ("×".join(map(str, each.shape[1::-1])) for each in (self._seen.photo, photo))
                warn(f"a frame is {now}, the one before was {was}; the objects are followed on. `reset` begins anew")
            self._seen = self._calls.encode(photo.copy())
        if index != self._index:
            self._index, self._stepped = index, False
        return self._seen

    def _told(self, seen: Seen, moments: Mapping[int, Moment]) -> tuple[TrackedObject, ...]:
        """Moments as users see them."""
        if not moments:
            return ()
        settings, frame = self._calls.parameters, seen.frame
        low = np.stack([filled(each.logits, settings.fill_holes) for each in moments.values()])
        full = (resize(frame.mask_rows, frame.mask_columns, each[None])[0] for each in low)
        masks = [each > 0 for each in full] if settings.overlap else apart(full)
        return tuple(
            TrackedObject(key, mask, moment.score, logits)
            for (key, moment), mask, logits in zip(moments.items(), masks, low, strict=True)
        )

    def close(self) -> None:
        """Free the engines, and what they left where they computed."""
        self._closed = True
        self.reset()
        for session in self._sessions.values():
            session.close()

    def _refuse_closed(self) -> None:
        if self._closed:
            raise EngineError("the tracker is closed; open the bundle again")

    def is_closed(self) -> bool:
        """Whether they were freed."""
        return self._closed


def open_tracker(bundle: Bundle, engines: Engines, parameters: Mapping[str, Any] | None) -> Tracker:
    """The tracker of a bundle."""
    engines.open(STAGES)
    sessions = {stage: engines[stage] for stage in STAGES}
    settings = bundle.recipe.override(parameters)
    return Tracker(
        bundle.manifest.dimensions, sessions, settings, engines.turn, backend=engines.backend,
        precision=engines.precision,
    )  # fmt: skip


TRACKING = Interface(open=open_tracker, stages=STAGES)
"""How a pipeline with those stages is opened as a `Tracker`."""
