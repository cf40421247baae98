"""The report of a GPU day: one JSON file, written after every step, and its tables."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from ovdeploy.runtime.files import write_bytes


class Report:
    """Results by step, in the order in which they came."""

    def __init__(self, path: Path, data: dict[str, Any]) -> None:
        self.path, self.data = path, data

    @classmethod
    def at(cls, folder: Path, setting: Any) -> Report:
        """The report in a folder: the one that is there, if it is of the same device and size, or an empty one."""
        path = folder / "report.json"
        told = {"device": setting.device, "size": setting.size}
        if path.is_file():
            data = json.loads(path.read_text())
            if data.get("setting") == told:
                return cls(path, data)
        return cls(path, {"setting": told, "steps": {}})

    def has(self, name: str) -> bool:
        """Whether a step has its figures. What failed, was left or was refused is tried again."""
        done = self.data["steps"].get(name)
        return done is not None and not {"left", "failed", "refused"} & set(done)

    def add(self, name: str, result: dict[str, Any], begun: float) -> None:
        """Print and save a step's result."""
        self.data["steps"][name] = {**result, "after": round(time.monotonic() - begun, 1)}
        print(f"[{time.monotonic() - begun:5.0f} s] {name}: {summary(result)}", flush=True)
        write_bytes(self.path, json.dumps(self.data, indent=1).encode())
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
    lines += ["", "| step | stage | p50, ms | p90 | p99 | relative error | 1 − cosine | memory, MB | power, W |"]
    lines += ["| --- " * 9 + "|"]
    for name, step in steps.items():
        for row in step.get("rows", []):
            lines.append(_row(name, row))
    lines += ["", "| step | not measured, because |", "| --- | --- |"]
    for name, step in steps.items():
        reason = next((f"{word}: {step[word]}" for word in ("refused", "failed", "left") if word in step), "")
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
        f"{row['relative']:.1e}" if "relative" in row else "", f"{1 - row['cosine']:.1e}" if "cosine" in row else "",
        f"{row['memory']:.0f}" if "memory" in row else "", f"{row['power']:.0f}" if row.get("power") else "",
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"
