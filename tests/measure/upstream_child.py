"""The other side of `upstream.py`: runs in an environment of its own, with another's package, nothing of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch


def mobile_sam():
    from mobile_sam import SamPredictor, sam_model_registry

    return sam_model_registry["vit_t"](), SamPredictor


def efficientvit_sam(size):
    from efficientsam.models.efficientvit.sam import EfficientViTSamPredictor
    from efficientsam.sam_model_zoo import create_efficientvit_sam_model

    return create_efficientvit_sam_model(f"efficientvit-sam-{size}", pretrained=False), EfficientViTSamPredictor


MODELS = {
    "mobile_sam": mobile_sam,
    "efficientvit_sam_l0": lambda: efficientvit_sam("l0"),
    "efficientvit_sam_l1": lambda: efficientvit_sam("l1"),
}


def described(model):
    """Names and shapes of all tensors, and the epsilon of every norm by its module's name."""
    return {
        "tensors": {name: list(value.shape) for name, value in model.state_dict().items()},
        "eps": {name: module.eps for name, module in model.named_modules() if is_norm(module)},
    }


def is_norm(module):
    return hasattr(module, "weight") and hasattr(module, "eps")


@torch.no_grad()
def main(name: str, folder: Path) -> None:
    model, predictor_class = MODELS[name]()
    model.eval()
    (folder / "described.json").write_text(json.dumps(described(model)))
    if not (folder / "weights.pt").is_file():
        return
    model.load_state_dict(torch.load(folder / "weights.pt", weights_only=True), strict=True)
    model.eval()  # again: MobileSAM's attention keeps a copy of its biases, which only `eval` renews
    given = np.load(folder / "given.npz")
    predictor = predictor_class(model)
    predictor.set_image(given["photo"])
    made = {"features": predictor.features.numpy()}
    prompts = json.loads((folder / "prompts.json").read_text())
    for prompt, asked in prompts.items():
        given_as = (None if asked[key] is None else np.array(asked[key]) for key in ("points", "labels", "box"))
        points, labels, box = given_as
        mask = given["mask"] if asked["mask"] else None
        for many in (False, True):
            answer = predictor.predict(points, labels, box, mask, multimask_output=many)
            names = (f"{prompt}/{many}/{key}" for key in ("masks", "iou", "low_res"))
            made |= dict(zip(names, answer, strict=True))
    np.savez(folder / "made.npz", **made)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
