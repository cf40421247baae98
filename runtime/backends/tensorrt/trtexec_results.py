"""The files that trtexec leaves, of versions 10 and 11.

`--exportTimes` is a list of objects with milliseconds; `--exportProfile` a list whose first object counts the runs and
whose others are layers; `--exportLayerInfo` what the engine inspector tells (`layers` beside this). trtexec writes
names as they are, without escaping them, and numbers as C++ prints them, nan included.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

from ...errors import EngineError
from ..measures import StageProfile, ranked, summarize
from .layers import UNKNOWN, Layer, parse_json, parse_layers

Parsed = TypeVar("Parsed")

NUMBER = r"\s*:\s*([-+.\w]+)\s*"
ROW = re.compile(
    r'"name"\s*:\s*"(?P<name>.*?)"\s*,\s*"timeMs"' + NUMBER + r',\s*"averageMs"' + NUMBER + r".*?}", re.DOTALL
)
"""A layer of `--exportProfile`. It is no JSON where a name holds quotes, so it is read between the keys around it."""


class Row(NamedTuple):
    """A layer's time."""

    name: str
    average_ms: float


def parse_times(text: str) -> list[float]:
    """GPU time of every run, in milliseconds; some may be nan.

    Raises:
        ValueError: not such a file.
    """
    told = parse_json(text)
    if not isinstance(told, list) or not all(isinstance(run, dict) and "computeMs" in run for run in told):
        raise ValueError("no list of runs with computeMs in it")
    return [float(run["computeMs"]) for run in told]


def parse_profile(text: str) -> list[Row]:
    """Layers with their mean time, in running order; some may be nan.

    Raises:
        ValueError: not such a file, or a number that is none.
    """
    if not re.match(r'\s*\[\s*{\s*"count"', text):
        raise ValueError("it does not begin with a count of runs")
    rows = [Row(match["name"], float(match[3])) for match in ROW.finditer(text)]
    if len(rows) != len(re.findall(r'"averageMs"\s*:', text)):
        raise ValueError("a layer in it cannot be read")
    return rows


def read_results(
    paths: Mapping[str, Path], stage: str, precision: str, measured_by: str, sizes: dict[str, int]
) -> StageProfile:
    """The profile of a stage from the files that trtexec left.

    Raises:
        EngineError: a file is missing or cannot be read.
    """
    times = _read(paths["times"], parse_times)
    rows = _read(paths["profile"], parse_profile)
    layers = {layer.name: layer for layer in _read(paths["layers"], parse_layers)}
    known = [(row, layers.get(row.name, Layer(row.name, UNKNOWN, UNKNOWN))) for row in rows]
    return StageProfile(
        stage=stage,
        precision=precision,
        measured_by=measured_by,
        sizes=sizes,
        times=summarize(times, "GPU time, no transfers", stage),
        layers=ranked((row.name, layer.kind, layer.precision, row.average_ms) for row, layer in known),
    )


def _read(path: Path, parse: Callable[[str], Parsed]) -> Parsed:
    try:
        return parse(path.read_text(encoding="utf-8", errors="replace"))
    except FileNotFoundError as error:
        raise EngineError(f"trtexec has left no {path}; run it again, without --read or by profile.sh") from error
    except (OSError, ValueError, TypeError) as error:
        raise EngineError(f"{path} is not what trtexec 10 or 11 writes: {error}") from error
