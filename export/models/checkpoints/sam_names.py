"""Names of SAM's tensors in the files of Meta and of transformers."""

from __future__ import annotations

from .naming import Naming, Row, block_rows

META_SAM = Naming(
    "segment_anything's Sam",
    "segment_anything's modeling, as in sam_vit_b_01ec64.pth; MobileSAM and EfficientViT-SAM have the same parts",
    ("prompt_encoder.pe_layer.positional_encoding_gaussian_matrix", "mask_decoder.iou_token.weight"),
    (
        Row("pixel_mean", None, why="the model has it"),
        Row("pixel_std", None, why="the model has it"),
    ),
    keeps=True,
)

ATTENTIONS = ("self_attn", "cross_attn_token_to_image", "cross_attn_image_to_token")
PARTS = ("q_proj", "k_proj", "v_proj", "out_proj")


def _mlp(theirs: str, ours: str, between: int = 1) -> tuple[Row, ...]:
    """Rows of transformers' SamFeedForward: a first layer, some between, a last."""
    last = between + 1
    return (
        Row(f"{theirs}.proj_in.{{w}}", f"{ours}.layers.0.{{w}}"),
        *(Row(f"{theirs}.layers.{n}.{{w}}", f"{ours}.layers.{n + 1}.{{w}}") for n in range(between)),
        Row(f"{theirs}.proj_out.{{w}}", f"{ours}.layers.{last}.{{w}}"),
    )


def _same(template: str) -> Row:
    return Row(template, template)


DECODER = "mask_decoder.transformer"

TRANSFORMERS_SAM = Naming(
    "transformers' SamModel",
    "transformers' models/sam, as in facebook/sam-vit-base; after its convert_sam_to_hf",
    ("shared_image_embedding.positional_embedding", "vision_encoder.pos_embed"),
    (
        Row(
            "shared_image_embedding.positional_embedding", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
        ),
        Row(  # a copy, which save_pretrained leaves out
            "prompt_encoder.shared_embedding.positional_embedding",
            "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
        ),
        Row("vision_encoder.pos_embed", "image_encoder.pos_embed"),
        Row("vision_encoder.patch_embed.projection.{w}", "image_encoder.patch_embed.proj.{w}"),
        *block_rows(
            "vision_encoder.layers.{n}",
            "image_encoder.blocks.{n}",
            {
                "layer_norm1": "norm1",
                "layer_norm2": "norm2",
                "attn.qkv": "attn.qkv",
                "attn.proj": "attn.proj",
                "mlp.lin1": "mlp.lin1",
                "mlp.lin2": "mlp.lin2",
            },
        ),
        Row("vision_encoder.layers.{n}.attn.rel_pos_h", "image_encoder.blocks.{n}.attn.rel_pos_h"),
        Row("vision_encoder.layers.{n}.attn.rel_pos_w", "image_encoder.blocks.{n}.attn.rel_pos_w"),
        Row("vision_encoder.neck.conv1.{w}", "image_encoder.neck.0.{w}"),
        Row("vision_encoder.neck.layer_norm1.{w}", "image_encoder.neck.1.{w}"),
        Row("vision_encoder.neck.conv2.{w}", "image_encoder.neck.2.{w}"),
        Row("vision_encoder.neck.layer_norm2.{w}", "image_encoder.neck.3.{w}"),
        Row("prompt_encoder.point_embed.{n}.weight", "prompt_encoder.point_embeddings.{n}.weight"),
        _same("prompt_encoder.not_a_point_embed.weight"),
        _same("prompt_encoder.no_mask_embed.weight"),
        Row("prompt_encoder.mask_embed.conv1.{w}", "prompt_encoder.mask_downscaling.0.{w}"),
        Row("prompt_encoder.mask_embed.layer_norm1.{w}", "prompt_encoder.mask_downscaling.1.{w}"),
        Row("prompt_encoder.mask_embed.conv2.{w}", "prompt_encoder.mask_downscaling.3.{w}"),
        Row("prompt_encoder.mask_embed.layer_norm2.{w}", "prompt_encoder.mask_downscaling.4.{w}"),
        Row("prompt_encoder.mask_embed.conv3.{w}", "prompt_encoder.mask_downscaling.6.{w}"),
        _same("mask_decoder.iou_token.weight"),
        _same("mask_decoder.mask_tokens.weight"),
        *(_same(f"{DECODER}.layers.{{n}}.{attention}.{part}.{{w}}") for attention in ATTENTIONS for part in PARTS),
        *(
            Row(f"{DECODER}.layers.{{n}}.layer_norm{k}.{{w}}", f"{DECODER}.layers.{{n}}.norm{k}.{{w}}")
            for k in (1, 2, 3, 4)
        ),
        _same(f"{DECODER}.layers.{{n}}.mlp.lin1.{{w}}"),
        _same(f"{DECODER}.layers.{{n}}.mlp.lin2.{{w}}"),
        *(_same(f"{DECODER}.final_attn_token_to_image.{part}.{{w}}") for part in PARTS),
        Row(f"{DECODER}.layer_norm_final_attn.{{w}}", f"{DECODER}.norm_final_attn.{{w}}"),
        Row("mask_decoder.upscale_conv1.{w}", "mask_decoder.output_upscaling.0.{w}"),
        Row("mask_decoder.upscale_layer_norm.{w}", "mask_decoder.output_upscaling.1.{w}"),
        Row("mask_decoder.upscale_conv2.{w}", "mask_decoder.output_upscaling.3.{w}"),
        *_mlp("mask_decoder.output_hypernetworks_mlps.{n}", "mask_decoder.output_hypernetworks_mlps.{n}"),
        *_mlp("mask_decoder.iou_prediction_head", "mask_decoder.iou_prediction_head"),
    ),
)

SAM_NAMINGS = (META_SAM, TRANSFORMERS_SAM)
