"""OWLv2 at full size with random weights: time and size of its export, and agreement with transformers.

    python tests/measure/owlv2.py [NAME] [FOLDER]

NAME is a detector of recipes, `owlv2_b16` unless it is said. Takes minutes and 6 GB.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import torch
import transformers
from grounding_dino import exported, tell

from ovdeploy.export.models.checkpoints.naming import rename
from ovdeploy.export.models.checkpoints.owlv2_names import OWLV2
from ovdeploy.export.models.detector.owlv2 import BUILDS, build
from ovdeploy.export.models.weights import random_state
from ovdeploy.export.reference.grounded.owl_detector import OwlDetector, detector_inputs, detector_outputs
from ovdeploy.runtime.backends.registry import open_session


def theirs_of(name):
    """Transformers' model of the same sizes, with random weights."""
    row, (width, heads, layers) = BUILDS[name], BUILDS[name].text
    vision = {"hidden_size": row.width, "image_size": row.side, "patch_size": row.patch,
              "num_hidden_layers": row.layers, "num_attention_heads": row.width // row.head,
              "intermediate_size": 4 * row.width}  # fmt: skip
    text = {"hidden_size": width, "num_attention_heads": heads, "num_hidden_layers": layers,
            "intermediate_size": 4 * width}  # fmt: skip
    config = transformers.Owlv2Config(vision_config=vision, text_config=text, projection_dim=width)
    model = transformers.Owlv2ForObjectDetection(config).eval()
    model.load_state_dict(random_state(model, 7))
    return model


@torch.no_grad()
def main():
    """Export, run, compare."""
    name = sys.argv[1] if len(sys.argv) > 1 else "owlv2_b16"
    folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(mkdtemp())
    theirs, ours = theirs_of(name), build(name).eval()
    ours.load_state_dict(rename(theirs.state_dict(), OWLV2).tensors)
    detector, random = OwlDetector(ours), np.random.default_rng(0)
    side, length = ours.side, ours.clip.text_projection.shape[1]
    blocks = np.kron(random.random((1, 3, 12, 12)), np.ones((-(-side // 12),) * 2))
    image = np.ascontiguousarray(blocks[..., :side, :side], np.float32)
    tokens = torch.zeros(3, 16, dtype=torch.long)
    for row, count in enumerate((2, 1, 5)):
        words = random.integers(320, 40000, count).tolist()
        tokens[row, : count + 2] = torch.tensor([49406, *words, 49407])
    begun = time.perf_counter()
    answer = theirs(
        input_ids=tokens,
        pixel_values=detector.normalise(torch.from_numpy(image)),
        attention_mask=(tokens > 0).long(),
    )
    print(f"transformers: {time.perf_counter() - begun:.1f} s for a photo, {torch.get_num_threads()} threads")
    query = torch.nn.functional.normalize(answer.text_embeds[0], dim=-1).numpy()
    expected = answer.logits[0].numpy(), answer.pred_boxes[0].numpy()
    inputs, outputs = detector_inputs(side), detector_outputs(ours.grid**2, length)
    path, contract = exported("detector_image", detector, inputs, outputs, folder, {})
    for backend in ("onnxruntime", "openvino"):
        with open_session(path, contract, backend, threads=1) as session:
            begun = time.perf_counter()
            made = session.run({"image": image})
            print(f"{backend}: {time.perf_counter() - begun:.1f} s, the first run, one thread", flush=True)
        logits = (made["embeddings"][0] @ query.T + made["shift"][0, :, None]) * made["scale"][0, :, None]
        tell(backend, (logits, made["boxes"][0]), expected)


if __name__ == "__main__":
    main()
