"""Everything worth measuring on an NVIDIA GPU, in eight minutes, by one command; what is known first is worth most.

    python tests/measure/gpu_day --out report                       (on the machine with the GPU)
    python tests/measure/gpu_day --out report --device cpu --size micro --minutes 6      (the rehearsal, on any machine)
    python tests/measure/gpu_day --tables report/report.json        (the tables of docs/gpu.md)

Every step is a process of its own with a time limit, so that a crash or a hang costs one step. Its result is printed
and saved in OUT/report.json before the next begins; a call with the same --work and --out goes on where the last one
stopped. A step that does not fit into what is left of the minutes is left, and told. What cannot run here (a library
that is not installed, a GPU that it refuses) is a result too: the words are in the report.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from gpu_day.report import Report, tables
from gpu_day.setting import Setting
from gpu_day.steps import RUN, beginning, measuring


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("gpu-day"), help="where report.json and report.md go")
    work = Path("/tmp/gpu-day")  # noqa: S108 (a machine that is rented for the day has one user)
    parser.add_argument("--work", type=Path, default=work, help="where bundles are kept between calls")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--size", choices=["micro", "full"], default="full")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--tables", type=Path, help="print the tables of a report, and do nothing else")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.tables:
        print(tables(json.loads(given.tables.read_text())))
        return
    setting = Setting(work=str(given.work), device=given.device, size=given.size)
    if given.step:
        print(json.dumps(RUN[given.step.partition(":")[0]](setting, *given.step.split(":")[1:])))
        return
    run_all(setting, given.out, given.minutes * 60)


def run_all(setting: Setting, out: Path, seconds: float) -> None:
    """Step after step until the time is up."""
    begun = time.monotonic()
    report = Report.at(out, setting)
    for part in (lambda: beginning(setting), lambda: measuring(report.found("probe", "backends", []))):
        for name, limit in part():
            run_if_room(name, float(limit), setting, report, begun, seconds)
    print(f"wrote {report.path}", flush=True)


def run_if_room(name: str, limit: float, setting: Setting, report: Report, begun: float, seconds: float) -> None:
    """A step that has no figures yet, if it fits into what is left."""
    left = seconds - (time.monotonic() - begun)
    if report.has(name):
        print(f"{name}: done before", flush=True)
    elif left < min(limit, 20):
        report.add(name, {"left": f"{left:.0f} s were left"}, begun)
    else:
        report.add(name, run_step(name, setting, min(limit, left)), begun)


def run_step(name: str, setting: Setting, limit: float) -> dict[str, object]:
    """A step in a process of its own."""
    start = time.monotonic()
    command = [sys.executable, str(Path(__file__).parent), "--step", name, "--work", setting.work]
    command += ["--device", setting.device, "--size", setting.size]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        lines = (error.stdout or b"").decode(errors="replace").strip().splitlines()
        with contextlib.suppress(ValueError, IndexError):
            return {**json.loads(lines[-1]), "cut": f"not done after {limit:.0f} s"}
        return {"failed": f"not done after {limit:.0f} s"}
    took = {"seconds": round(time.monotonic() - start, 1)}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        lines = done.stderr.strip().splitlines()[-60:] or [f"exit code {done.returncode}"]
        return {"failed": lines[-1][:600], "stderr": lines, **took}
    try:
        return {**json.loads(lines[-1]), **took}
    except ValueError:
        return {"failed": f"its last line is no result: {lines[-1][:300]}", **took}


if __name__ == "__main__":
    main()
