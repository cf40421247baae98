"""How well a bundle of the pipeline `tracking` follows things through drawn clips. No test: it takes minutes.

    python tests/measure/clips.py BUNDLE [--clips 50] [--frames 20] [--kind mask] [--words demo/tiny] [--rejoin]

Things cross, hide, leave and come back, and change their size. Those in sight in the first frame are prompted there, by
their masks, boxes, or a point within each. Told are J, F and J&F of all frames behind it (means over things, of 100),
by engines and by the modules in PyTorch, with the same prompts; or with --words IDF1 of things that an open-vocabulary
bundle finds on each tenth frame, given the clip's names and all names of stuff.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from ovdeploy.export.reference.networks import Networks
from ovdeploy.export.reference.tracking.reference import torch_tracker
from ovdeploy.runtime import Bundle, Segmenter, Tracker
from ovdeploy.runtime.evaluation.tracks import Identified, Masks, followed, identified
from ovdeploy.runtime.scenes import FIRST_TEST_SEED, Clip, draw_clip
from ovdeploy.runtime.scenes.names import STUFF
from ovdeploy.runtime.video.frame import Frame
from ovdeploy.runtime.video.prompted import follow_prompts
from ovdeploy.runtime.video.prompts import ObjectPrompt
from ovdeploy.runtime.video.ways import Answers
from ovdeploy.runtime.video.words import Joining, follow_words

LEAST = 30
"""Pixels of a thing that is prompted: of fewer nobody would."""


def frames_of(clip: Clip) -> list[Frame]:
    return [Frame(number, None, image) for number, image in enumerate(clip.frames)]


def truths_of(clip: Clip) -> list[dict[int, np.ndarray]]:
    return [{thing: owners == thing for thing in range(1, len(clip.names) + 1)} for owners in clip.owners]


def masks_of(answers: Answers) -> list[Masks]:
    return [{each.id: each.mask.decode() for each in answer.instances} for _, answer in answers]


def innermost(mask: np.ndarray) -> list[list[int]]:
    depth = cv2.distanceTransform(np.pad(mask, 1).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    y, x = np.unravel_index(depth.argmax(), mask.shape)
    return [[int(x), int(y)]]


def box_of(mask: np.ndarray) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


KINDS = {
    "mask": lambda mask: {"mask": mask},
    "box": lambda mask: {"box": box_of(mask)},
    "point": lambda mask: {"points": innermost(mask)},
}


def prompts_of(truth: dict[int, np.ndarray], kind: str) -> list[ObjectPrompt]:
    return [ObjectPrompt(thing, 0, **KINDS[kind](mask)) for thing, mask in truth.items() if mask.sum() >= LEAST]


def scores(tracker: Tracker, clip: Clip, prompts: Sequence[ObjectPrompt]) -> list[tuple[float, float]]:
    """J and F of each thing that was prompted."""
    tracker.reset()
    asked = {each.object_id for each in prompts}
    truths = [{thing: mask for thing, mask in truth.items() if thing in asked} for truth in truths_of(clip)]
    answers = masks_of(follow_prompts(frames_of(clip), prompts, tracker))
    return [(each.region, each.contour) for each in followed(answers[1:], truths[1:]).values()]


def by_words(tracker: Tracker, segmenter: Segmenter, clip: Clip, joining: Joining) -> Identified:
    names = list(dict.fromkeys(clip.names))
    vocabulary = segmenter.vocabulary([*names, *STUFF])

    def find(image: np.ndarray) -> list:
        found = segmenter.segment(image, vocabulary).instances(min_area=joining.min_area)
        return [each for each in found if each.class_index < len(names)]

    tracker.reset()
    return identified(masks_of(follow_words(frames_of(clip), find, tracker, joining)), truths_of(clip))


def told(name: str, rows: list[tuple[float, float]]) -> str:
    region, contour = 100 * np.mean(rows, axis=0)
    return f"{name}: J {region:.2f}  F {contour:.2f}  J&F {(region + contour) / 2:.2f}"


def clips(arguments: argparse.Namespace) -> Iterator[Clip]:
    for number in range(arguments.clips):
        yield draw_clip(FIRST_TEST_SEED + number, arguments.frames)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--frames", type=int, default=20)
    parser.add_argument("--kind", choices=list(KINDS), default="mask")
    parser.add_argument("--backend", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--words")
    parser.add_argument("--rejoin", action="store_true")
    parser.add_argument("--min-area", type=int, default=100)
    arguments = parser.parse_args()
    engines = Tracker.load(arguments.bundle, backend=arguments.backend, threads=arguments.threads)
    columns: dict[str, list[tuple[float, float]]] = {"engines": [], "PyTorch": []}
    trackers = {"engines": engines, "PyTorch": torch_tracker(Networks.load(Bundle.load(arguments.bundle).recipe))}
    begun = time.process_time()
    for clip in clips(arguments) if not arguments.words else ():
        prompts = prompts_of(truths_of(clip)[0], arguments.kind)
        for name, tracker in trackers.items():
            columns[name] += scores(tracker, clip, prompts)
        print(f"{len(columns['engines'])} things; {told('engines', columns['engines'])}", flush=True)
    for name, rows in columns.items():
        if rows:
            print(told(name, rows))
    if arguments.words:
        total = Identified(0, 0, 0)
        joining = Joining(min_area=arguments.min_area, rejoin=arguments.rejoin)
        with Segmenter.load(arguments.words, backend=arguments.backend, threads=arguments.threads) as segmenter:
            for clip in clips(arguments):
                total += by_words(engines, segmenter, clip, joining)
                print(f"IDF1 {100 * total.f1:.2f}  {total}", flush=True)
    print(f"{time.process_time() - begun:.0f} CPU seconds")


if __name__ == "__main__":
    main()
