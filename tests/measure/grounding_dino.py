"""Grounding DINO at full size with random weights: time and size of its export, and agreement with transformers.

    python tests/measure/grounding_dino.py [NAME] [FOLDER] [--modules-only]

NAME is a detector of recipes, `grounding_dino_tiny` unless it is said. Takes minutes and 15 GB. The boxes are those of
the best of some 28,000 proposals, and among random ones many nearly tie. So it also tells how far the proposals'
features are apart before any is chosen, and how far boxes are when ours are chosen among transformers' features.
"""

from __future__ import annotations

import argparse
import contextlib
import time
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import onnx
import torch
from scipy.optimize import linear_sum_assignment

from ovdeploy.export.bundling.onnx_export import export_onnx
from ovdeploy.export.models.detector.grounding_dino import build
from ovdeploy.export.models.weights import random_state
from ovdeploy.export.reference.grounded.ground_detector import DEVIATION, MEAN, GroundDetector
from ovdeploy.export.reference.grounded.ground_text import GroundText
from ovdeploy.export.reference.grounded.grounding import detector_inputs, detector_outputs, text_inputs, text_outputs
from ovdeploy.runtime.backends.registry import open_session
from ovdeploy.runtime.graph.lint import lint_model
from ovdeploy.runtime.pipelines.grounded.sizes import TOKENS
from ovdeploy.runtime.stage.contract import StageContract
from ovdeploy.runtime.words import phrases


def exported(stage, module, inputs, outputs, folder, axes):
    """A stage's file and contract; tells what they took."""
    contract = StageContract(stage=stage, inputs=inputs, outputs=outputs, axes=axes)
    path, begun, spent = folder / f"{stage}.onnx", time.perf_counter(), time.process_time()
    export_onnx(module.eval(), contract, path)
    wall, cpu = time.perf_counter() - begun, time.process_time() - spent
    graph = onnx.load(path)
    found = [finding for version in ((10, 0), (11, 4)) for finding in lint_model(graph, version)]
    size, nodes = path.stat().st_size / 1e6, len(graph.graph.node)
    print(f"{stage}: {wall:.0f} s ({cpu:.0f} CPU-s), {size:.0f} MB, {nodes} nodes, {len(found)} findings", flush=True)
    return path, contract


def upstream(model, feeds):
    """Transformers' logits and boxes."""
    tokens, mask = torch.from_numpy(feeds["tokens"]).long(), torch.ones(1, *feeds["extent"], dtype=torch.long)
    mean, deviation = (torch.tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
    answer = model(
        pixel_values=(torch.from_numpy(feeds["image"]) / 255 - mean) / deviation, pixel_mask=mask,
        input_ids=tokens, token_type_ids=torch.zeros_like(tokens), attention_mask=torch.ones_like(tokens),
    )  # fmt: skip
    return answer.logits[0, :, : tokens.shape[1]].numpy(), answer.pred_boxes[0].numpy()


@contextlib.contextmanager
def observed(module, instead=None):
    """What a module gives, in a list; or what it is made to give."""
    seen = []

    def hook(_, __, made):
        seen.append(made)
        return instead

    handle = module.register_forward_hook(hook)
    try:
        yield seen
    finally:
        handle.remove()


def tell(name, came, expected):
    """How far sets of boxes are apart: logits relative to the largest, boxes as they are."""
    scale = np.abs(expected[0]).max()
    rows = [np.concatenate([logits / scale, boxes], -1) for logits, boxes in (came, expected)]
    distance = np.stack([np.abs(row - rows[1]).max(-1) for row in rows[0]])
    matched = distance[linear_sum_assignment(distance)]
    print(f"{name}: largest distance of matched boxes and logits {matched.max():.2e}, median {np.median(matched):.2e}, "
          f"{(matched < 1e-4).sum()} of {len(matched)} within 1e-4", flush=True)  # fmt: skip


@torch.no_grad()
def main():
    """Export, run, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="grounding_dino_tiny", metavar="NAME")
    parser.add_argument("folder", nargs="?", type=Path, metavar="FOLDER", help="of the graphs; else a temporary one")
    parser.add_argument("--modules-only", action="store_true", help="export nothing")
    given = parser.parse_args()
    folder = given.folder or Path(mkdtemp())
    model = build(given.name)
    model.load_state_dict(random_state(model, 1))
    model.requires_grad_(False)
    random, width = np.random.default_rng(0), model.config.d_model
    told = phrases.text_inputs([4, 3, 6])
    image_height, image_width = model.image_size
    # fills the image: nothing is padded, which transformers would see otherwise
    image = np.kron(random.integers(0, 256, (1, 3, 12, 16)), np.ones((image_height // 12, image_width // 16)))
    tokens = [token for n in (4, 3, 6) for token in (*random.integers(1997, 20000, n - 1), 1012)]
    feeds = {
        "image": image.astype(np.float32), "extent": np.array(model.image_size, np.int32),
        "tokens": np.array([[101, *tokens, 102]], np.int32),
        "position_ids": told.position_ids, "attends": told.attends,
    }  # fmt: skip
    begun = time.perf_counter()
    with observed(model.model.enc_output_norm) as theirs:
        expected = upstream(model, feeds)
    print(
        f"transformers: {time.perf_counter() - begun:.1f} s for a photo, {torch.get_num_threads()} threads", flush=True
    )
    text, detector = GroundText(model), GroundDetector(model, model.image_size)
    features = text(*(torch.from_numpy(feeds[each]) for each in ("tokens", "position_ids", "attends")))
    names = ("image", "extent", "position_ids", "attends")
    image, extent, positions, attends = (torch.from_numpy(feeds[each]) for each in names)
    begun = time.perf_counter()
    with observed(model.model.enc_output_norm) as ours:
        made = detector(image, extent, features, positions, attends)
    print(f"our module: {time.perf_counter() - begun:.1f} s", flush=True)
    apart = (ours[0] - theirs[0]).abs().max() / theirs[0].abs().max()
    print(
        f"features of {theirs[0].shape[1]:,} proposals, none chosen yet: {apart:.2e} of the largest apart", flush=True
    )
    tell("our module", [each[0].numpy() for each in made], expected)
    with observed(model.model.enc_output_norm, instead=theirs[0].reshape(ours[0].shape)):
        made = detector(image, extent, features, positions, attends)
    tell("our module, chosen among transformers' features", [each[0].numpy() for each in made], expected)
    if given.modules_only:
        return
    files = {
        "ground_text": exported("ground_text", text, text_inputs(), text_outputs(width), folder, {"L": TOKENS}),
        "ground_detector": exported(
            "ground_detector", detector, detector_inputs(*model.image_size, width),
            detector_outputs(model.config.num_queries), folder, {"L": TOKENS},
        ),
    }  # fmt: skip
    for backend in ("onnxruntime", "openvino"):
        arrays = dict(feeds)
        for stage, (path, contract) in files.items():
            with open_session(path, contract, backend, threads=1) as session:
                begun = time.perf_counter()
                arrays |= session.run({each: arrays[each] for each in contract.input_names})
                print(f"{backend} {stage}: {time.perf_counter() - begun:.1f} s, the first run", flush=True)
        tell(backend, (arrays["logits"][0], arrays["boxes"][0]), expected)


if __name__ == "__main__":
    main()
