"""The other side of `namings.py`: runs in an environment with transformers, nothing of ours."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import numpy as np
import torch
import transformers
from safetensors.torch import load_file

TOWER = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 256}
VIT = {**TOWER, "num_hidden_layers": 3, "image_size": 64, "patch_size": 8, "layer_norm_eps": 1e-6}
DINOV2 = {**TOWER, "num_hidden_layers": 2, "image_size": 70, "patch_size": 14}


def clip():
    vision = {**TOWER, "num_hidden_layers": 3, "image_size": 96, "patch_size": 16}
    text = {**TOWER, "num_hidden_layers": 2}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=64)
    return transformers.CLIPModel(config)


def sam():
    vision = {
        "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "mlp_dim": 256, "image_size": 512,
        "patch_size": 16, "output_channels": 64, "global_attn_indexes": [1, 3], "window_size": 7, "num_pos_feats": 32,
    }  # fmt: skip
    prompts = {"hidden_size": 64, "image_size": 512, "patch_size": 16}
    decoder = {"hidden_size": 64, "num_attention_heads": 4, "mlp_dim": 128, "iou_head_hidden_dim": 64}
    config = transformers.SamConfig(
        vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config={**decoder, "layer_norm_eps": 1e-5}
    )
    return transformers.SamModel(config)


MODELS = {
    "clip": clip,
    "vit": lambda: transformers.ViTModel(transformers.ViTConfig(**VIT)),
    "dinov2": lambda: transformers.Dinov2Model(transformers.Dinov2Config(**DINOV2)),
    "dinov2_registers": lambda: transformers.Dinov2WithRegistersModel(
        transformers.Dinov2WithRegistersConfig(**DINOV2, num_register_tokens=4)
    ),
    "dinov2_classifier": lambda: transformers.Dinov2ForImageClassification(
        transformers.Dinov2Config(**DINOV2, num_labels=5)
    ),
    "dinov3": lambda: transformers.DINOv3ViTModel(
        transformers.DINOv3ViTConfig(**{**DINOV2, "image_size": 64, "patch_size": 16}, num_register_tokens=4)
    ),
    "sam": sam,
}


def tensor(value):
    return value if isinstance(value, torch.Tensor) else value.pooler_output


def outputs(model, given):
    image = torch.from_numpy(given["image"])
    if isinstance(model, transformers.CLIPModel):
        text = torch.from_numpy(given["tokens"])
        return {
            "image": tensor(model.get_image_features(pixel_values=image)),
            "text": tensor(model.get_text_features(input_ids=text)),
        }
    if isinstance(model, transformers.SamModel):
        points = torch.from_numpy(given["points"])[None]
        came = model(pixel_values=image, input_points=points, multimask_output=True)
        features = model.get_image_embeddings(image)
        return {"features": features, "masks": came.pred_masks, "iou": came.iou_scores}
    if isinstance(model, transformers.Dinov2ForImageClassification):
        model = model.dinov2
    return {"features": model(image).last_hidden_state}


@torch.no_grad()
def main(name: str, folder: Path) -> None:
    if not (folder / "given.npz").is_file():
        model = MODELS[name]()
        model.save_pretrained(folder)
        saved = load_file(folder / "model.safetensors")
        own = {key: list(value.shape) for key, value in model.state_dict().items()}
        described = {key: list(value.shape) for key, value in saved.items()}
        (folder / "described.json").write_text(json.dumps({"tensors": described, "live": own}))
        return
    model, loading = type(MODELS[name]()).from_pretrained(folder, output_loading_info=True)
    assert not any(loading.values()), loading
    made = outputs(model.eval(), np.load(folder / "given.npz"))
    np.savez(folder / "made.npz", **{key: value.numpy() for key, value in made.items()})
    # The state dict as torch.save would write it: since version 5 some names are others
    np.savez(folder / "live.npz", **{key: value.numpy() for key, value in model.state_dict().items()})


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
