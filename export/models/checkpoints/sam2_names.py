"""Names of SAM 2's and EdgeTAM's tensors in transformers' files. Those of Meta's files are the model's own."""

from __future__ import annotations

from functools import partial

import torch

from .naming import Naming, Row, block_rows

HIERA = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "attn.qkv": "attn.qkv",
    "attn.proj": "attn.proj",
    "mlp.proj_in": "mlp.layers.0",
    "mlp.proj_out": "mlp.layers.1",
    "proj": "proj",
}
ATTENTIONS = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
PARTS = {"q_proj": "q_proj", "k_proj": "k_proj", "v_proj": "v_proj", "o_proj": "out_proj"}
KINDS = range(4)
"""Of points: background, foreground, a box's corners."""

GAUSSIAN = "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"


def _row_of(index: int, table: torch.Tensor) -> torch.Tensor:
    """One row of a table that the model has row by row."""
    return table[index : index + 1]


def _parts(theirs: str, ours: str) -> tuple[Row, ...]:
    """An attention's projections."""
    return tuple(Row(f"{theirs}.{name}.{{w}}", f"{ours}.{own}.{{w}}") for name, own in PARTS.items())


def _mlp(theirs: str, ours: str) -> tuple[Row, ...]:
    """Three layers."""
    return (
        Row(f"{theirs}.proj_in.{{w}}", f"{ours}.layers.0.{{w}}"),
        Row(f"{theirs}.layers.0.{{w}}", f"{ours}.layers.1.{{w}}"),
        Row(f"{theirs}.proj_out.{{w}}", f"{ours}.layers.2.{{w}}"),
    )


AROUND = (
    Row("vision_encoder.neck.convs.{n}.{w}", "image_encoder.neck.convs.{n}.conv.{w}"),
    Row("no_memory_embedding", "no_mem_embed"),
)

IMAGE = (
    Row("vision_encoder.backbone.pos_embed", "image_encoder.trunk.pos_embed"),
    Row("vision_encoder.backbone.pos_embed_window", "image_encoder.trunk.pos_embed_window"),
    Row("vision_encoder.backbone.patch_embed.projection.{w}", "image_encoder.trunk.patch_embed.proj.{w}"),
    *block_rows("vision_encoder.backbone.blocks.{n}", "image_encoder.trunk.blocks.{n}", HIERA),
    *AROUND,
)

PROMPTS = (
    Row("shared_image_embedding.positional_embedding", GAUSSIAN),
    Row("prompt_encoder.shared_embedding.positional_embedding", GAUSSIAN),
    *(
        Row(
            "prompt_encoder.point_embed.weight",
            f"sam_prompt_encoder.point_embeddings.{kind}.weight",
            partial(_row_of, kind),
        )
        for kind in KINDS
    ),
    Row("prompt_encoder.not_a_point_embed.weight", "sam_prompt_encoder.not_a_point_embed.weight"),
    Row("prompt_encoder.no_mask_embed.weight", "sam_prompt_encoder.no_mask_embed.weight"),
    *(
        Row(f"prompt_encoder.mask_embed.{theirs}.{{w}}", f"sam_prompt_encoder.mask_downscaling.{ours}.{{w}}")
        for theirs, ours in (("conv1", 0), ("layer_norm1", 1), ("conv2", 3), ("layer_norm2", 4), ("conv3", 6))
    ),
)

LAYERS, OWN_LAYERS = "mask_decoder.transformer.layers.{n}", "sam_mask_decoder.transformer.layers.{n}"

DECODER = (
    *(row for name in ATTENTIONS for row in _parts(f"{LAYERS}.{name}", f"{OWN_LAYERS}.{name}")),
    *(Row(f"{LAYERS}.layer_norm{k}.{{w}}", f"{OWN_LAYERS}.norm{k}.{{w}}") for k in (1, 2, 3, 4)),
    Row(f"{LAYERS}.mlp.proj_in.{{w}}", f"{OWN_LAYERS}.mlp.layers.0.{{w}}"),
    Row(f"{LAYERS}.mlp.proj_out.{{w}}", f"{OWN_LAYERS}.mlp.layers.1.{{w}}"),
    *_parts(
        "mask_decoder.transformer.final_attn_token_to_image", "sam_mask_decoder.transformer.final_attn_token_to_image"
    ),
    Row("mask_decoder.transformer.layer_norm_final_attn.{w}", "sam_mask_decoder.transformer.norm_final_attn.{w}"),
    *(
        Row(f"mask_decoder.{token}.weight", f"sam_mask_decoder.{token}.weight")
        for token in ("iou_token", "mask_tokens", "obj_score_token")
    ),
    Row("mask_decoder.upscale_conv1.{w}", "sam_mask_decoder.output_upscaling.0.{w}"),
    Row("mask_decoder.upscale_layer_norm.{w}", "sam_mask_decoder.output_upscaling.1.{w}"),
    Row("mask_decoder.upscale_conv2.{w}", "sam_mask_decoder.output_upscaling.3.{w}"),
    Row("mask_decoder.conv_s0.{w}", "sam_mask_decoder.conv_s0.{w}"),
    Row("mask_decoder.conv_s1.{w}", "sam_mask_decoder.conv_s1.{w}"),
    *(
        row
        for name in ("output_hypernetworks_mlps.{n}", "iou_prediction_head", "pred_obj_score_head")
        for row in _mlp(f"mask_decoder.{name}", f"sam_mask_decoder.{name}")
    ),
)

SAMPLER = "memory_encoder.mask_downsampler"
MLP = ("linear1", "linear2")
"""Of the memory attention."""

REMEMBERED = (  # what both have alike
    *(
        row
        for name in ("self_attn", "cross_attn_image")
        for row in _parts(f"memory_attention.layers.{{n}}.{name}", f"memory_attention.layers.{{n}}.{name}")
    ),
    *(
        Row(f"memory_attention.layers.{{n}}.{theirs}.{{w}}", f"memory_attention.layers.{{n}}.{ours}.{{w}}")
        for theirs, ours in (*((f"layer_norm{k}", f"norm{k}") for k in (1, 2, 3)),)
    ),
    Row("memory_attention.layer_norm.{w}", "memory_attention.norm.{w}"),
    *(
        Row(f"{SAMPLER}.layers.{k}.{theirs}.{{w}}", f"{SAMPLER}.encoder.{3 * k + step}.{{w}}")
        for k in range(4)
        for step, theirs in enumerate(("conv", "layer_norm"))
    ),
    Row(f"{SAMPLER}.final_conv.{{w}}", f"{SAMPLER}.encoder.12.{{w}}"),
    Row("memory_encoder.feature_projection.{w}", "memory_encoder.pix_feat_proj.{w}"),
    Row("memory_encoder.projection.{w}", "memory_encoder.out_proj.{w}"),
    *(
        Row(
            f"memory_encoder.memory_fuser.layers.{{n}}.{theirs}.{{w}}",
            f"memory_encoder.fuser.layers.{{n}}.{ours}.{{w}}",
        )
        for theirs, ours in (
            ("depthwise_conv", "dwconv"),
            ("layer_norm", "norm"),
            ("pointwise_conv1", "pwconv1"),
            ("pointwise_conv2", "pwconv2"),
        )
    ),
    Row("memory_encoder.memory_fuser.layers.{n}.scale", "memory_encoder.fuser.layers.{n}.gamma"),
    Row("memory_temporal_positional_encoding", "maskmem_tpos_enc"),
    Row("no_memory_positional_encoding", "no_mem_pos_enc"),
    Row("no_object_pointer", "no_obj_ptr"),
    Row("occlusion_spatial_embedding_parameter", "no_obj_embed_spatial"),
    Row("mask_downsample.{w}", "mask_downsample.{w}"),
    *_mlp("object_pointer_proj", "obj_ptr_proj"),
    Row("temporal_positional_encoding_projection_layer.{w}", "obj_ptr_tpos_proj.{w}"),
)

MEMORY = (
    *REMEMBERED,
    *(
        Row(f"memory_attention.layers.{{n}}.{name}.{{w}}", f"memory_attention.layers.{{n}}.{name}.{{w}}")
        for name in MLP
    ),
)

TRANSFORMERS_SAM2 = Naming(
    "transformers' Sam2VideoModel",
    "transformers' models/sam2_video, as in facebook/sam2.1-hiera-tiny",
    ("shared_image_embedding.positional_embedding", "vision_encoder.backbone.pos_embed"),
    (*IMAGE, *PROMPTS, *DECODER, *MEMORY),
)

PERCEIVER = "spatial_perceiver.layers.{n}"


def _products(theirs: str, ours: str) -> tuple[Row, ...]:
    """An attention of the perceiver: transformers has its keys and values apart."""
    return (
        Row(f"{PERCEIVER}.{theirs}.q_proj.weight", f"{PERCEIVER}.{ours}.to_q.weight"),
        Row(f"{PERCEIVER}.{theirs}.k_proj.weight", f"{PERCEIVER}.{ours}.to_kv.weight", part=1, parts=2),
        Row(f"{PERCEIVER}.{theirs}.v_proj.weight", f"{PERCEIVER}.{ours}.to_kv.weight", part=2, parts=2),
        Row(f"{PERCEIVER}.{theirs}.o_proj.weight", f"{PERCEIVER}.{ours}.to_out.weight"),
    )


def _perceptron(theirs: str, ours: str) -> tuple[Row, ...]:
    """One of its perceptrons."""
    return (
        Row(f"{PERCEIVER}.{theirs}.layer_norm.{{w}}", f"{PERCEIVER}.{ours}.0.{{w}}"),
        Row(f"{PERCEIVER}.{theirs}.up_proj.weight", f"{PERCEIVER}.{ours}.1.weight"),
        Row(f"{PERCEIVER}.{theirs}.down_proj.weight", f"{PERCEIVER}.{ours}.3.weight"),
    )


EDGE_MEMORY = (
    *REMEMBERED,
    *(
        Row(f"memory_attention.layers.{{n}}.mlp.{theirs}.{{w}}", f"memory_attention.layers.{{n}}.{ours}.{{w}}")
        for theirs, ours in zip(("up_proj", "down_proj"), MLP, strict=True)
    ),
    Row("spatial_perceiver.latents_1d", "spatial_perceiver.latents"),
    Row("spatial_perceiver.latents_2d", "spatial_perceiver.latents_2d"),
    *_products("cross_attention", "attn"),
    *_products("self_attention", "self_attn"),
    *_perceptron("mlp", "ff"),
    *_perceptron("self_mlp", "self_ff"),
    *(
        Row(f"{PERCEIVER}.layer_norm_{theirs}.{{w}}", f"{PERCEIVER}.{ours}.{{w}}")
        for theirs, ours in (("input", "attn.norm_x"), ("latents", "attn.norm_latents"), ("self", "self_attn.norm"))
    ),
    Row("spatial_perceiver.layer_norm.{w}", "spatial_perceiver.norm.{w}"),
)

TRANSFORMERS_EDGETAM = Naming(
    "transformers' EdgeTamVideoModel",
    "transformers' models/edgetam_video, as in yonigozlan/EdgeTAM-hf",
    ("shared_image_embedding.positional_embedding", "vision_encoder.backbone.timm_model.stem.conv1.c.weight"),
    (
        Row("vision_encoder.backbone.timm_model.{rest}", "image_encoder.trunk.body.{rest}"),
        *AROUND,
        *PROMPTS,
        *DECODER,
        *EDGE_MEMORY,
    ),
)
