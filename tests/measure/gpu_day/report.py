"""The report of a GPU day: one JSON file, written after every step, and its tables."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ovdeploy.runtime.files import write_bytes

UNFINISHED = ("refused", "failed", "left", "cut")
"""How a step that has not all its figures says so."""


class Report:
    """Results by step, in the order in which they came."""

    def __init__(self, path: Path, kept: Path, data: dict[str, Any]) -> None:
        self.path, self.kept, self.data = path, kept, data

    @classmethod
    def at(cls, folder: Path, setting: Any) -> Report:
        """The report of a folder: what earlier calls with the same device, size and --work found, or an empty one.

        It is kept beside the bundles too: some machines empty the folder of results before every command.
        """
        path = folder / "report.json"
        kept = Path(setting.work) / f"report-{setting.size}.json"
        told = {"device": setting.device, "size": setting.size}
        for file in (path, kept):
            data = json.loads(file.read_text()) if file.is_file() else {}
            if data.get("setting") == told:
                return cls(path, kept, data)
        return cls(path, kept, {"setting": told, "steps": {}})

    def has(self, name: str) -> bool:
        """Whether a step has its figures. What failed, was left or was refused is tried again."""
        done = self.data["steps"].get(name)
        return done is not None and not {*UNFINISHED} & set(done)

    def found(self, name: str, key: str, otherwise: Any) -> Any:
        """A figure of a step."""
        return self.data["steps"].get(name, {}).get(key, otherwise)

    def add(self, name: str, result: dict[str, Any], begun: float) -> None:
        """Print and save a step's result."""
        self.data["steps"][name] = {**result, "after": round(time.monotonic() - begun, 1)}
        print(f"[{time.monotonic() - begun:5.0f} s] {name}: {summary(result)}", flush=True)
        for file in (self.path, self.kept):
            write_bytes(file, json.dumps(self.data, indent=1).encode())
        write_bytes(self.path.with_suffix(".md"), tables(self.data).encode())


def summary(result: dict[str, Any]) -> str:
    """A result in a line."""
    for word in ("failed", "left", "refused"):
        if word in result:
            return f"{word}: {result[word]}"
    rows = result.get("rows")
    if rows:
        return "; ".join(f"{row['stage']} {_milliseconds(row)}" for row in rows)[:500]
    return json.dumps({key: value for key, value in result.items() if key != "seconds"})[:500]


def _milliseconds(row: dict[str, Any]) -> str:
    if "refused" in row:
        return f"refused ({str(row['refused'])[:80]})"
    times = row.get("times")
    parity = f" 1−cos {1 - row['cosine']:.0e}" if "cosine" in row else ""
    return (f"{times['p50']:.2f} ms" if times else "") + parity


def tables(data: dict[str, Any]) -> str:
    """Markdown: the machine, then a row for every stage and runner, then what was refused, left or failed."""
    steps = data["steps"]
    lines = ["# A GPU day", "", f"Setting: {json.dumps(data['setting'])}", ""]
    for key, value in steps.get("environment", {}).items():
        lines.append(f"- {key}: {value}")
    lines += [
        "",
        "| step | stage | p50, ms | p90 | p99 | p50 on the GPU | relative error | 1 − cosine | memory, MB | power, W |",
    ]
    lines += ["| --- " * 10 + "|"]
    for name, step in steps.items():
        for row in step.get("rows", []):
            lines.append(_row(name, row))
    lines += ["", "| step | not measured, because |", "| --- | --- |"]
    for name, step in steps.items():
        reason = next((f"{word}: {step[word]}" for word in UNFINISHED if word in step), "")
        lines += [f"| {name} | {str(reason).replace('|', '/')} |"] if reason else []
        lines += [
            f"| {name}, {row['stage']} | {str(row['refused']).replace('|', '/')} |"
            for row in step.get("rows", [])
            if "refused" in row
        ]
    for name, step in steps.items():
        if "checks" in step:
            lines += ["", f"{name}: {step['passed']} of {len(step['checks'])} checks passed", ""]
            lines += [f"- {check}" for check in step["checks"]]
    return "\n".join(lines) + "\n"


def _row(name: str, row: dict[str, Any]) -> str:
    times = row.get("times") or {}
    cells = [
        name, f"`{row['stage']}`", *(f"{times[key]:.3f}" if key in times else "" for key in ("p50", "p90", "p99")),
        f"{row['resident']['p50']:.3f}" if "resident" in row else "",
        f"{row['relative']:.1e}" if "relative" in row else "", f"{1 - row['cosine']:.1e}" if "cosine" in row else "",
        f"{row['memory']:.0f}" if "memory" in row else "", f"{row['power']:.0f}" if row.get("power") else "",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
