"""The draft of a bundle, in which quantised engines stand beside the float ones until it is accepted or dropped."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ...runtime.bundle.bundle import Bundle, EngineEntry
from ...runtime.bundle.calibration import Calibration
from ...runtime.reporting import Reporter
from .assemble import Goal, accept, begin_draft, write_draft, write_engine
from .stage import Choice, Work


class Draft:
    """A bundle that is put together beside its place.

    Attributes:
        source: the float bundle.
        goal: the precisions of engines.
        lacking: by stage, what an engine of it lacked of the precision.
    """

    def __init__(self, source: Bundle, output: Path, works: Mapping[str, Work], goal: Goal, tell: Reporter) -> None:
        """Begin with all files of the float bundle.

        Args:
            source: the float bundle.
            output: the place.
            works: the stages that may be quantised, by name.
            goal: the precisions of engines.
            tell: is told of stages that stay float.

        Raises:
            BundleError: a file of the float bundle is missing, truncated or altered.
        """
        self.source = source
        self.lacking: dict[str, str] = {}
        self._output, self._works, self.goal, self._tell = output, works, goal, tell
        self._path = begin_draft(source, output)
        self._engines: dict[str, EngineEntry] = {}

    def engines(self, choices: Mapping[str, Choice]) -> dict[str, EngineEntry]:
        """Quantised engines in the draft, by stage, for those of the choices that would be quantised enough.

        Raises:
            ExportError: a graph fails ONNX's checks.
        """
        made = {}
        for stage, choice in choices.items():
            key = f"{stage} {msgspec.json.encode(choice).decode()}"
            if key not in self._engines and choice.on:
                entry, lacks = write_engine(self._works[stage], choice, self._path, self.source, self.goal.rest)
                if lacks:
                    self._tell(f"{stage} stays float: {lacks}")
                    self.lacking[stage] = lacks
                    continue
                self._engines = {k: e for k, e in self._engines.items() if not k.startswith(f"{stage} ")}
                self._engines[key] = entry
            if key in self._engines:
                made[stage] = self._engines[key]
        return made

    def write(self, engines: Mapping[str, EngineEntry], calibration: Calibration | None = None) -> Bundle:
        """The draft as a bundle with these engines; its other stages are served by their float ones."""
        return write_draft(self.source, self._path, engines, self.goal, calibration)

    def accept(self) -> None:
        """Put it in its place, as it was written last."""
        accept(self._path, self._output)

    def drop(self) -> None:
        """Remove it."""
        shutil.rmtree(self._path, ignore_errors=True)
