"""A build's progress, from TensorRT's nested phases to one fraction."""

from __future__ import annotations

from typing import Any

from ...reporting import Reporter


class Phases:
    """Running phases, each within its parent; a phase counts as the parent's next step."""

    def __init__(self) -> None:
        self._phases: dict[str, tuple[str | None, int]] = {}
        self._done: dict[str, int] = {}

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins."""
        self._phases[name] = (parent, max(steps, 1))
        self._done[name] = 0

    def step(self, name: str, step: int) -> None:
        """A step, counted from 0, is complete."""
        if name in self._done:
            self._done[name] = step + 1

    def finish(self, name: str) -> None:
        """A phase ends, with or without all of its steps."""
        self._phases.pop(name, None)
        self._done.pop(name, None)

    @property
    def innermost(self) -> str:
        """The phase that runs."""
        return next(reversed(self._phases), "")

    @property
    def fraction(self) -> float:
        """How much of the outermost phase is done, 0 to 1."""
        roots = [name for name, (parent, _) in self._phases.items() if parent not in self._phases]
        return self._fraction(roots[0]) if roots else 0.0

    def _fraction(self, name: str) -> float:
        steps = self._phases[name][1]
        within = sum(self._fraction(child) for child, (parent, _) in self._phases.items() if parent == name)
        return min((self._done[name] + min(within, 1.0)) / steps, 1.0)


def make_monitor(trt: Any, tell: Reporter) -> Any:
    """An IProgressMonitor that tells the innermost phase and how far the build is, and stops it when telling fails.

    What `tell` raises (Control-C comes out there) is kept in `.failure`; it must not pass through TensorRT.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.phases = Phases()
            self.failure: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.phases.start(phase_name, parent_phase, num_steps)
            self._tell()

        def step_complete(self, phase_name: str, step: int) -> bool:
            self.phases.step(phase_name, step)
            self._tell()
            return self.failure is None

        def phase_finish(self, phase_name: str) -> None:
            self.phases.finish(phase_name)

        def _tell(self) -> None:
            try:
                tell(self.phases.innermost, share=self.phases.fraction)
            except BaseException as error:
                self.failure = error

    return Monitor()
