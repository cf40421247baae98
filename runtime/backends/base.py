"""The session. A backend implements `_execute`, or `_run` if it computes on a device; all else is the same."""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import numpy as np

from ..errors import EngineError
from ..stage.arrays import Array, DeviceArray, to_host
from ..stage.contract import StageContract

HOST = "cpu"


class Session:
    """One loaded engine. A context manager; closing twice does nothing.

    Stages are chained without the host: `empty` makes room for an output where the engine computes, `run` writes into
    it or into rows of it, and the next stage is fed with it. A host session makes room by NumPy, so the same lines run
    on every backend.

    Attributes:
        contract: what it takes and gives.
        device: where it computes: "cpu", "cuda:0", …
        listener: is told the sizes of the named axes of every call; None while nobody counts.
        overlaps: whether it may run, from another thread, while other engines of its device do. `open_session` says so
            where the backend can and its option `overlap` is on.
        stacks: whether `stack` puts arrays together where it computes, without the host.
    """

    device = HOST
    overlaps = False
    stacks = False

    def __init__(self, contract: StageContract) -> None:
        self.contract = contract
        self.listener: Callable[[dict[str, int]], None] | None = None
        self._closed = False
        self._home = os.getpid()
        _living.add(self)

    def run(self, feeds: Mapping[str, Array], into: Mapping[str, Array] | None = None) -> dict[str, np.ndarray]:
        """Run the engine once.

        Args:
            feeds: an array for every input of the contract, on the host or on any device.
            into: arrays to write outputs into, by name. What lies on the device is not checked for NaN here, but
                where its consequences come to the host.

        Returns:
            An array for every other output of the contract.

        Raises:
            EngineError: the session is closed, the feeds do not fit, the engine fails, or an output is missing, of
                another type or shape than the contract says, or not finite.
        """
        outputs = self.run_unchecked(feeds, into)
        self._check(feeds, outputs, into or {})
        return outputs

    def run_unchecked(
        self, feeds: Mapping[str, Array], into: Mapping[str, Array] | None = None
    ) -> dict[str, np.ndarray]:
        """As `run`, for those who look for NaN and infinity themselves.

        Raises:
            EngineError: the session is closed, the feeds do not fit, the engine fails, or an output is missing or of
                another type or shape than the contract says.
        """
        self._refuse_unusable()
        into = into or {}
        sizes = self.contract.check_feeds(feeds)
        self.contract.check_into(into, sizes)
        if self.listener is not None:
            self.listener(sizes)
        feeds = {name: self._reachable(array) for name, array in feeds.items()}
        try:
            outputs = self._run(feeds, into)
        except Exception as error:
            if isinstance(error, EngineError) and error.stage == self.contract.stage:
                raise
            raise EngineError(f"the {self.contract.stage} engine failed: {error}", self.contract.stage) from error
        self.contract.check_outputs({**outputs, **into}, sizes)
        return outputs

    def put(self, name: str, array: np.ndarray) -> Array:
        """An input brought to where the engine computes, so that rows of it can be fed to several engines there."""
        return array

    def empty(self, name: str, **sizes: int) -> Array:
        """Room for an output where the engine computes, its values undefined.

        Args:
            name: the output.
            sizes: of its named axes.
        """
        spec = self.contract.output(name)
        return np.empty(spec.sized(sizes), spec.dtype)

    def keep(self, array: Array) -> Array:
        """An array that this engine made, where no later call writes: it stands as long as somebody holds it.

        On the host that is the array itself.

        Args:
            array: room of `empty` that a run filled, or what `put` brought.
        """
        return array

    def hold(self, name: str, array: np.ndarray) -> Array:
        """What is stacked into many later inputs, brought to where that is done; it stands as `keep` says.

        Args:
            name: the input.
            array: rows of it.
        """
        return self.keep(self.put(name, array)) if self.stacks else array

    def stack(self, name: str, arrays: Sequence[Array]) -> Array:
        """An input made of arrays of one shape, one behind the other along a new first axis.

        It stands until the next array of this name is brought.

        Args:
            name: the input.
            arrays: at least one; what `hold` gave, or on the host.
        """
        return np.stack([to_host(array) for array in arrays])

    def tune(self) -> None:
        """Find out what is fastest for the shapes seen so far. The values in device arrays are undefined afterwards."""

    def _run(self, feeds: Mapping[str, Array], into: Mapping[str, Array]) -> dict[str, np.ndarray]:
        """Run the engine on feeds that fit the contract; return what is not written into arrays.

        A backend that writes into an array itself makes sure that the output has the array's type and shape.
        """
        outputs = self._execute({name: to_host(array) for name, array in feeds.items()})
        for name, array in into.items():
            if name not in outputs:
                raise EngineError(f"the {self.contract.stage} engine did not return {name}", self.contract.stage)
            assert isinstance(array, np.ndarray), "this session's room is on the host"
            came = outputs.pop(name)
            self._check_room(name, array, came.shape, came.dtype)
            array[...] = came
        return outputs

    def _check_room(self, name: str, room: Array, shape: tuple[int, ...], dtype: np.dtype) -> None:
        """Refuse an output that is not as its room is: NumPy would spread it, engines leave some of the room as it was.

        Raises:
            EngineError: says what was expected and what came.
        """
        if shape != tuple(room.shape) or dtype != room.dtype:
            raise EngineError(
                f"{self.contract.stage}: {name} must be {room.dtype} {list(room.shape)} in this call, came out of the "
                f"engine as {dtype} {list(shape)}",
                self.contract.stage,
            )

    def _execute(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine on the host."""
        raise NotImplementedError

    def _reachable(self, array: Array) -> Array:
        """The array itself, or a copy on the host of one that lies on another device."""
        return to_host(array) if array_device(array) not in (HOST, self.device) else array

    def _check(self, feeds: Mapping[str, Array], outputs: dict[str, np.ndarray], into: Mapping[str, Array]) -> None:
        here = {name: array for name, array in into.items() if isinstance(array, np.ndarray)}
        try:
            self.contract.check_finite({**outputs, **here})
        except EngineError as error:
            for name, feed in feeds.items():  # the fault may be an earlier stage's, whose output never came to the host
                if isinstance(feed, DeviceArray) and feed.dtype.kind == "f" and not np.isfinite(feed.numpy()).all():
                    raise EngineError(
                        f"the {feed.origin} engine returned NaN or infinity, found in {name} of {self.contract.stage}; "
                        f"compare it with PyTorch by `ovdeploy parity`, or try another precision",
                        feed.origin,
                    ) from error
            raise

    def close(self) -> None:
        """Free what the engine holds. In a process that was forked from the one that opened it this does nothing."""
        if not self._closed and self._home == os.getpid():
            self._closed = True
            self._free()

    def _free(self) -> None:
        """Let go of what the engine holds; called once."""

    def _refuse_unusable(self) -> None:
        stage = self.contract.stage
        if self._closed:
            raise EngineError(f"the {stage} engine is closed; open it again", stage)
        refuse_forked(self._home, f"the {stage} engine", stage)

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def refuse_forked(home: int, what: str, stage: str = "") -> None:
    """Refuse to use engines in another process than the one that opened them: their threads were not forked with it.

    Args:
        home: the process that opened them.
        what: they are called.
        stage: of the engine, if it is one.

    Raises:
        EngineError: this is another process.
    """
    if home != os.getpid():
        raise EngineError(
            f"{what} was opened by process {home}, and this is {os.getpid()}, forked from it: an engine's threads do "
            f"not live on in a fork. Open the bundle here, or start processes by 'spawn'",
            stage,
        )


_living: weakref.WeakSet[Session] = weakref.WeakSet()


def _never_freed() -> None:
    """Keep a forked process from taking engines apart: it would wait for threads that it does not have."""
    for session in list(_living):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_never_freed)


def array_device(array: Array) -> str:
    """Where an array lies."""
    return array.device if isinstance(array, DeviceArray) else HOST
