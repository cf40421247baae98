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


def sam2(config):
    from sam2.build_sam import build_sam2
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    return build_sam2(f"configs/sam2.1/sam2.1_hiera_{config}.yaml", device="cpu"), SAM2ImagePredictor


def edgetam():
    """EdgeTAM by what its configuration names: SAM 2's model around timm's RepViT-M1, and a perceiver of the memory."""
    import timm
    from sam2.modeling.backbones.image_encoder import FpnNeck, ImageEncoder
    from sam2.modeling.memory_attention import MemoryAttention, MemoryAttentionLayer
    from sam2.modeling.memory_encoder import CXBlock, Fuser, MaskDownSampler, MemoryEncoder
    from sam2.modeling.position_encoding import PositionEmbeddingSine
    from sam2.modeling.sam.transformer import RoPEAttention
    from sam2.modeling.sam2_base import SAM2Base
    from sam2.sam2_image_predictor import SAM2ImagePredictor

    class Trunk(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.body = timm.create_model("repvit_m1", pretrained=False, features_only=True, out_indices=(0, 1, 2, 3))
            self.channel_list = self.body.feature_info.channels()[::-1]

        def forward(self, x):
            return self.body(x)

    widths = [384, 192, 96, 48]
    neck = FpnNeck(PositionEmbeddingSine(256), 256, widths, fpn_top_down_levels=[2, 3], fpn_interp_model="nearest")
    attend = {"embedding_dim": 256, "num_heads": 1, "downsample_rate": 1}
    layer = MemoryAttentionLayer(
        "relu", RoPEAttention(**attend, kv_in_dim=64), 256, 2048, 0.1, False, True, False, RoPEAttention(**attend)
    )
    fuser = Fuser(CXBlock(256, 7, 3, use_dwconv=True), 2)
    memory = MemoryEncoder(64, MaskDownSampler(kernel_size=3, stride=2, padding=1), fuser, PositionEmbeddingSine(64))
    model = SAM2Base(
        ImageEncoder(Trunk(), neck, scalp=1), MemoryAttention(256, True, layer, 2), memory, image_size=1024,
        directly_add_no_mem_embed=True, use_high_res_features_in_sam=True, iou_prediction_use_sigmoid=True,
        multimask_output_in_sam=True, multimask_output_for_tracking=True, use_multimask_token_for_obj_ptr=True,
        use_obj_ptrs_in_encoder=True, add_tpos_enc_to_obj_ptrs=False, pred_obj_scores=True, pred_obj_scores_mlp=True,
        fixed_no_obj_ptr=True, use_mlp_for_obj_ptr_proj=True,
        sam_mask_decoder_extra_args={"dynamic_multimask_via_stability": True},
    )  # fmt: skip
    model.spatial_perceiver = perceiver()
    return model, SAM2ImagePredictor


def perceiver():
    """The tensors of EdgeTAM's perceiver, which is not in the package: names and shapes alone."""

    def norm():
        return torch.nn.LayerNorm(64)

    def linear(inputs, outputs):
        return torch.nn.Linear(inputs, outputs, bias=False)

    def forward():
        return torch.nn.Sequential(norm(), linear(64, 256), torch.nn.GELU(), linear(256, 64))

    def attention(**norms):
        return torch.nn.ModuleDict(
            {**norms, "to_q": linear(64, 64), "to_kv": linear(64, 128), "to_out": linear(64, 64)}
        )

    def layer():
        return torch.nn.ModuleDict({
            "attn": attention(norm_x=norm(), norm_latents=norm()), "ff": forward(),
            "self_attn": attention(norm=norm()), "self_ff": forward(),
        })  # fmt: skip

    made = torch.nn.Module()
    made.latents, made.latents_2d = (torch.nn.Parameter(torch.zeros(256, 64)) for _ in range(2))
    made.layers, made.norm = torch.nn.ModuleList([layer(), layer()]), norm()
    return made


MODELS = {
    "edgetam": edgetam,
    "sam2.1_hiera_tiny": lambda: sam2("t"),
    "sam2.1_hiera_small": lambda: sam2("s"),
    "sam2.1_hiera_base_plus": lambda: sam2("b+"),
    "sam2.1_hiera_large": lambda: sam2("l"),
    "mobile_sam": mobile_sam,
    "efficientvit_sam_l0": lambda: efficientvit_sam("l0"),
    "efficientvit_sam_l1": lambda: efficientvit_sam("l1"),
}


IMAGE_SIDE = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
"""Beginnings of the names of what SAM 2 needs for images; the rest is for videos."""


def described(model):
    """Names and shapes of all tensors, and the epsilon of every norm by its module; of videos the names alone."""
    of_images = IMAGE_SIDE if hasattr(model, "memory_encoder") else ("",)
    tensors = {name: list(value.shape) for name, value in model.state_dict().items()}
    norms = {name: module.eps for name, module in model.named_modules() if is_norm(module)}
    memory = [name for name in tensors if not name.startswith(of_images)]
    return {
        "tensors": {name: shape for name, shape in tensors.items() if name.startswith(of_images)},
        "eps": {name: eps for name, eps in norms.items() if name.startswith(of_images)},
        **({"memory": memory} if memory else {}),
    }


def is_norm(module):
    return hasattr(module, "weight") and hasattr(module, "eps")


def features_of(predictor):
    """A photo's features, by the names that we give them."""
    if hasattr(predictor, "features"):
        return {"features": predictor.features.numpy()}
    kept = predictor._features
    finer = {f"high_res_{index}": each.numpy() for index, each in enumerate(kept["high_res_feats"])}
    return {"features": kept["image_embed"].numpy(), **finer}


@torch.no_grad()
def main(name: str, folder: Path) -> None:
    model, predictor_class = MODELS[name]()
    model.eval()
    told = described(model)
    (folder / "described.json").write_text(json.dumps(told))
    if not (folder / "weights.pt").is_file():
        return
    weights = torch.load(folder / "weights.pt", weights_only=True)
    missing, unexpected = model.load_state_dict(weights, strict=False)
    assert sorted(missing) == sorted(told.get("memory", ())) and not unexpected, (missing, unexpected)
    model.eval()  # again: MobileSAM's attention keeps a copy of its biases, which only `eval` renews
    given = np.load(folder / "given.npz")
    predictor = predictor_class(model)
    predictor.set_image(given["photo"])
    made = features_of(predictor)
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
