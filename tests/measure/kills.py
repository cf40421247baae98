"""Commands that are killed at random moments and run again: the same bytes as undisturbed, and nothing left behind.

    python tests/measure/kills.py --kills 30                     (all of them; about an hour on 2 quiet cores)
    python tests/measure/kills.py --kills 5 segment evaluate     (some of them)

Each command runs undisturbed once, then as often as is asked for: killed (SIGKILL) after a random part of the
undisturbed run's time, looked at (a bundle that is there can be loaded, JSON and pictures can be read), run again to
its end, and compared file by file. Times are left out of the comparison: nothing else is.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ovdeploy.runtime import Bundle
from ovdeploy.runtime.scenes import draw_scene

BIN = Path(sys.executable).parent
TIMES = ("timings", "timings_ms", "seconds", "milliseconds", "speedups", "ms", "peak", "memory", "elapsed")
"""Keys of JSON whose values are times."""


class Case(NamedTuple):
    """A command: what it needs once, and its arguments with {out} for where it writes."""

    arguments: list[str]
    seen: Callable[[Path], None]
    """Looks at what a killed run left, and raises if something is half-written."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="COMMAND")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["OVDEPLOY_CACHE"] = str(Path(folder) / "cache")
        cases = prepared(Path(folder))
        for name in given.names or cases:
            print(series(name, cases[name], Path(folder), given.kills, random.Random(given.seed)), flush=True)


def prepared(folder: Path) -> dict[str, Case]:
    """The commands on the models of `micro`, a bundle and photos made for them."""
    photos, bundle = folder / "photos", folder / "micro"
    photos.mkdir()
    for seed in range(6):
        Image.fromarray(draw_scene(seed).photo).save(photos / f"{seed}.png")
    subprocess.run([BIN / "export-engines", "micro", "--output", bundle], check=True, capture_output=True)
    scenes = ["--dataset", "scenes", "--photos", "6"]
    return {
        "segment": Case(
            ["ovdeploy", "segment", str(photos), "--bundle", str(bundle), "--classes", "cup, mug", "--output", "{out}"],
            check_pictures,
        ),
        "segment-datasets": Case(
            ["ovdeploy", "segment", str(photos), "--bundle", str(bundle), "--classes", "cup, mug", "--output", "{out}",
             "--save", "coco,coco-polygons,panoptic,yolo,geojson,labelme,polygons,instances"],
            check_pictures,
        ),
        "evaluate": Case(["ovdeploy", "evaluate", str(bundle), *scenes, "--output", "{out}"], check_pictures),
        "tune": Case(
            ["ovdeploy", "tune", str(bundle), *scenes, "--trials", "6", "--output", "{out}.toml"],
            check_pictures,
        ),
        "calibrate": Case(
            ["ovdeploy", "calibrate", str(bundle), "--images", str(photos), "--classes", "cup, mug", "--photos", "3",
             "--gate-photos", "2", "--search", "stage", "--keep-anyway", "--backend", "emulated",  # no times
             "--output", "{out}", "--report", "{out}-report"],
            check_bundle,
        ),
        "export-engines": Case(["export-engines", "sam-micro", "--output", "{out}"], check_bundle),
    }  # fmt: skip


def series(name: str, case: Case, folder: Path, kills: int, rng: random.Random) -> str:
    """One command's kills, in a line."""
    place = folder / name
    place.mkdir()
    cold = Path(os.environ["OVDEPLOY_CACHE"])
    start = time.monotonic()
    finished(case, place / "out")
    seconds = time.monotonic() - start
    expected, same, late = told(place), 0, 0
    kept = shutil.copytree(place, folder / f"{name}.expected")
    for number in range(kills):
        shutil.rmtree(place)
        place.mkdir()
        shutil.rmtree(cold, ignore_errors=True)
        after = rng.random() * seconds
        late += killed(case, place / "out", after)
        case.seen(place / "out")
        finished(case, place / "out")
        came = told(place)
        if came == expected:
            same += 1
        else:
            print(f"{name}, kill {number} after {after:.2f} s: {difference(expected, came)} (see {kept})", flush=True)
    return f"{name}: {same} of {kills} the same, {late} were done before they were killed; undisturbed {seconds:.1f} s"


def command(case: Case, out: Path) -> list[str]:
    program, *arguments = (part.replace("{out}", str(out)) for part in case.arguments)
    return [str(BIN / program), *arguments]


def finished(case: Case, out: Path) -> None:
    done = subprocess.run(command(case, out), capture_output=True, text=True)
    if done.returncode not in (0, 3):
        raise SystemExit(f"{' '.join(case.arguments)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def killed(case: Case, out: Path, after: float) -> bool:
    """Kill it with all its children; whether it was done before."""
    process = subprocess.Popen(
        command(case, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        process.wait(after)
        return True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return False


def told(folder: Path) -> dict[str, Any]:
    """All files under a folder, hidden ones too: their bytes, of JSON all but times."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            name, data = str(path.relative_to(folder)), path.read_bytes()
            found[name] = without_times(json.loads(data)) if path.suffix == ".json" else data
            if path.suffix in (".md", ".html", ".svg", ".txt", ".jsonl", ".csv"):
                found[name] = "a text that tells times"
        elif not any(path.iterdir()):
            found[str(path.relative_to(folder)) + "/"] = "empty"
    return found


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(each) for key, each in value.items() if key not in TIMES}
    return [without_times(each) for each in value] if isinstance(value, list) else value


def difference(expected: dict[str, Any], came: dict[str, Any]) -> str:
    gone, new = sorted(set(expected) - set(came)), sorted(set(came) - set(expected))
    other = [name for name in expected if name in came and expected[name] != came[name]]
    return f"missing {gone}, left over {new}, different {other}"


def check_bundle(out: Path) -> None:
    """What is there is a whole bundle, or none."""
    if (out / "bundle.json").exists():
        bundle = Bundle.load(out)
        for entry in bundle.manifest.files():
            bundle.verified(entry)


def check_pictures(out: Path) -> None:
    """Every result that has its name is whole."""
    for path in out.rglob("*") if out.exists() else ():
        if path.name.startswith("."):
            continue
        if path.suffix == ".png":
            with Image.open(path) as picture:
                picture.load()
        elif path.suffix == ".json":
            json.loads(path.read_text())


if __name__ == "__main__":
    main()
