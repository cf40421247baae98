"""Everything mode against SamAutomaticMaskGenerator: records, CPU-seconds outside engines, calls, and memory.

    export-engines sam-b --sam-weights random:3 --output sam-b
    python tests/measure/everything.py sam-b [--photo coffee.jpg] [--set points_per_side=8] [--set crop_layers=1]

The reference is made with the bundle's weights: a package's own, or random ones from their seed. Each side runs in a
process of its own, on one thread. Random weights are never sure, so thresholds are low unless --set says otherwise.
Records are matched by point and crop, then by the largest IoU of masks. Prints how many agree, and for each side:

- CPU-seconds in all, and outside its networks: what is left when the encoder's and decoder's calls are taken away;
- calls of the decoder, and the points in them;
- the largest resident memory while it searched, above what the loaded models took.

The exit code is 1 if a record has no counterpart, or differs: box, area by 0.1 %, stability by 1e-3, mask IoU < 0.999.
"""

from __future__ import annotations

import argparse
import pickle
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.everything import UPSTREAM

LENIENT = {
    "points_per_side": 8, "prompt_batch": 16, "iou_threshold": 0, "stability_threshold": 0.3, "stability_offset": 0.02,
    "box_threshold": 0.95, "crop_box_threshold": 0.95,
}  # fmt: skip


class Outside:
    """CPU time of a process but for that within some calls."""

    def __init__(self) -> None:
        self.inside, self.calls, self.points = 0.0, 0, 0

    def wrapped(self, call: Callable[..., Any], points_of: Callable[..., int]) -> Callable[..., Any]:
        """The call, measured and counted."""

        def measured(*given: Any, **named: Any) -> Any:
            start = time.process_time()
            answer = call(*given, **named)
            self.inside += time.process_time() - start
            points = points_of(*given, **named)
            self.calls, self.points = self.calls + bool(points), self.points + points
            return answer

        return measured


def resident(largest: bool = False) -> float:
    """Megabytes of this process, now or at most since `forget`."""
    told = Path("/proc/self/status").read_text()
    return int(re.search(rf"{'VmHWM' if largest else 'VmRSS'}:\s+(\d+) kB", told)[1]) / 1024  # type: ignore[index]


def searched(run: Callable[[], Any], outside: Outside) -> dict[str, Any]:
    """What a search found and cost."""
    Path("/proc/self/clear_refs").write_text("5")  # the largest resident memory counts from here
    before, start = resident(), time.process_time()
    found = run()
    cost = time.process_time() - start
    memory = resident(largest=True) - before
    told = {"cpu": cost, "outside": cost - outside.inside, "calls": outside.calls, "points": outside.points}
    return {"found": found, "memory": memory, **told}


def ours(bundle: Path, photo: np.ndarray, settings: dict[str, Any]) -> dict[str, Any]:
    """Everything mode on the bundle's engines."""
    from ovdeploy.runtime import Prompter

    with Prompter.load(bundle, backend="onnxruntime", threads=1) as prompter:
        outside = Outside()
        for session in (prompter._encoder, prompter._decoder):
            session.run = outside.wrapped(session.run, lambda feeds, *_: len(feeds.get("points", ())))  # type: ignore[method-assign]
        told = searched(lambda: prompter.everything(photo, parameters=settings), outside)
    told["found"] = [
        {"box": each.box_xyxy, "area": each.area, "stability": each.stability, "iou": each.iou, "point": each.point_xy,
         "crop": (each.crop_xyxy[0], each.crop_xyxy[1]), "mask": np.packbits(each.mask.decode())}
        for each in told["found"].instances
    ]  # fmt: skip
    return told


def theirs(bundle: Path, photo: np.ndarray, settings: dict[str, Any]) -> dict[str, Any]:
    """The reference with the same weights."""
    import torch
    from segment_anything import SamAutomaticMaskGenerator

    from ovdeploy.export.reference.networks import Networks
    from ovdeploy.runtime import Bundle

    torch.set_num_threads(1)
    opened = Bundle.load(bundle)
    sam = Networks.load(opened.recipe, {"sam": opened.manifest.provenance["sam"].source}).models["sam"]
    outside = Outside()
    sam.image_encoder.forward = outside.wrapped(sam.image_encoder.forward, lambda *_, **__: 0)
    sam.prompt_encoder.forward = outside.wrapped(sam.prompt_encoder.forward, lambda *_, **__: 0)
    sam.mask_decoder.forward = outside.wrapped(
        sam.mask_decoder.forward, lambda **given: len(given["sparse_prompt_embeddings"])
    )
    generator = SamAutomaticMaskGenerator(sam, **{UPSTREAM[name]: value for name, value in settings.items()})
    told = searched(lambda: generator.generate(photo), outside)
    told["found"] = [_record(each) for each in told["found"]]
    return told


def _record(told: dict[str, Any]) -> dict[str, Any]:
    x, y, width, height = told["bbox"]
    return {
        "box": (x, y, x + width, y + height), "area": told["area"], "stability": told["stability_score"],
        "iou": told["predicted_iou"], "point": tuple(told["point_coords"][0]), "crop": tuple(told["crop_box"][:2]),
        "mask": np.packbits(told["segmentation"]),
    }  # fmt: skip


SIDES = {"ours": ours, "theirs": theirs}


def overlap(a: dict[str, Any], b: dict[str, Any]) -> float:
    """The IoU of two masks."""
    both, either = np.bitwise_count(a["mask"] & b["mask"]).sum(), np.bitwise_count(a["mask"] | b["mask"]).sum()
    return float(both / max(either, 1))


def compare(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    """Ours against theirs, record by record."""
    left, same, in_order, worst = list(a), 0, 0, {"area": 0.0, "stability": 0.0, "iou": 0.0, "mask": 1.0}
    for index, wanted in enumerate(b):
        near = [r for r in left if np.allclose(r["point"], wanted["point"]) and r["crop"] == wanted["crop"]]
        if not near:
            print(f"no counterpart: {wanted['box']} iou {wanted['iou']:.4f} stability {wanted['stability']:.4f}")
            continue
        record = max(near, key=lambda each: overlap(each, wanted))
        left = [each for each in left if each is not record]
        in_order += index < len(a) and a[index] is record
        area = abs(record["area"] - wanted["area"]) / max(wanted["area"], 1)
        gaps = {name: abs(record[name] - wanted[name]) for name in ("stability", "iou")} | {"area": area}
        mask = overlap(record, wanted)
        worst = {name: max(worst[name], gap) for name, gap in gaps.items()} | {"mask": min(worst["mask"], mask)}
        good = record["box"] == wanted["box"] and area <= 1e-3 and gaps["stability"] <= 1e-3 and mask >= 0.999
        same += good
        if not good:
            print(f"differs: {record['box']} / {wanted['box']}, mask IoU {mask:.5f}, {gaps}")
    print(f"{len(a)} records, {len(b)} of the reference, {same} the same, {in_order} at the same place")
    print(", ".join(f"worst {name} {value:.2g}" if name != "mask" else f"smallest mask IoU {value:.6f}"
                    for name, value in worst.items()))  # fmt: skip
    return same == len(a) == len(b)


def value(text: str) -> int | float:
    return float(text) if "." in text else int(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--photo", type=Path, help="one of the package's by default")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--side", choices=SIDES, help="one side alone, into --into")
    parser.add_argument("--into", type=Path)
    given = parser.parse_args()
    pairs = (each.split("=") for each in given.set)
    settings = LENIENT | {name: value(text) for name, text in pairs}
    if given.side:
        from ovdeploy.runtime import load_photo

        photo = load_photo(given.photo or next((Path(__file__).parents[2] / "engines").glob("*.jpg")))
        given.into.write_bytes(pickle.dumps(SIDES[given.side](given.bundle, photo, settings)))
        return
    with tempfile.TemporaryDirectory() as folder:
        told = {}
        for side in SIDES:
            into = Path(folder) / side
            subprocess.run([sys.executable, *sys.argv, "--side", side, "--into", into], check=True)
            told[side] = pickle.loads(into.read_bytes())  # noqa: S301 (our own child wrote it)
    good = compare(told["ours"]["found"], told["theirs"]["found"])
    for side, cost in told.items():
        print(f"{side:7} {cost['cpu']:8.1f} CPU-s, {cost['outside']:7.2f} outside the networks, {cost['calls']} calls "
              f"of the decoder with {cost['points']} points, {cost['memory']:.0f} MB more at most")  # fmt: skip
    print(f"outside the networks: {told['ours']['outside'] / told['theirs']['outside']:.2f} of the reference's")
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
