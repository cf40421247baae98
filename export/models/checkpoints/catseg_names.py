"""Names of CAT-Seg's tensors in its published files: CLIP with queries, keys and values apart, and the aggregator."""

from __future__ import annotations

from .naming import Naming, Row, attention_rows

CLIP, HEAD = "sem_seg_head.predictor.clip_model", "sem_seg_head.predictor.transformer"
PARTS = ("q_proj_weight", "k_proj_weight", "v_proj_weight")


def _tower(transformer: str) -> tuple[Row, ...]:
    """Rows of the attention in one of CLIP's transformers."""
    theirs, ours = f"{CLIP}.{transformer}.resblocks.{{n}}.attn", f"clip.{transformer}.resblocks.{{n}}.attn"
    return attention_rows(f"{theirs}.{{part}}", f"{ours}.in_proj_weight", PARTS)


BLOCK_PARTS = ("attn.out_proj.{w}", "attn.in_proj_bias", "ln_1.{w}", "ln_2.{w}", "mlp.c_fc.{w}", "mlp.c_proj.{w}")


def _block(transformer: str) -> tuple[Row, ...]:
    """Rows of what else a block of one of CLIP's transformers has."""
    block = f"{transformer}.resblocks.{{n}}"
    return tuple(Row(f"{CLIP}.{block}.{part}", f"clip.{block}.{part}") for part in BLOCK_PARTS)


OF_CLIP = (
    "positional_embedding", "text_projection", "logit_scale", "token_embedding.weight", "ln_final.{w}",
    "visual.class_embedding", "visual.positional_embedding", "visual.proj", "visual.conv1.weight", "visual.ln_pre.{w}",
    "visual.ln_post.{w}",
)  # fmt: skip

OF_HEAD = (
    "layers.{n}.attention.{rest}", "layers.{n}.swin_block.guidance_norm.{w}",
    *(
        f"layers.{{n}}.swin_block.block_{{m}}.{part}.{{rest}}" for part in ("norm1", "attn", "norm2", "mlp")
    ),
    "conv1.{rest}", "guidance_projection.{rest}", "text_guidance_projection.{rest}",
    "decoder_guidance_projection.{rest}", "decoder1.{rest}", "decoder2.{rest}", "head.{rest}",
)  # fmt: skip

CATSEG = Naming(
    "CAT-Seg's",
    "CAT-Seg's cat_seg/cat_seg_model.py, as in model_base.pth and model_large.pth",
    (f"{CLIP}.visual.conv1.weight", f"{HEAD}.conv1.weight", "upsample1.weight"),
    (
        *(Row(f"{CLIP}.{name}", f"clip.{name}") for name in OF_CLIP),
        *_tower("visual.transformer"),
        *_tower("transformer"),
        *_block("visual.transformer"),
        *_block("transformer"),
        Row(f"{HEAD}.layers.{{n}}.swin_block.block_2.attn_mask", None, why="the model makes it itself"),
        *(Row(f"{HEAD}.{part}", f"seg_head.transformer.{part}") for part in OF_HEAD),
        Row("upsample1.{w}", "seg_head.upsample1.{w}"),
        Row("upsample2.{w}", "seg_head.upsample2.{w}"),
    ),
)  # fmt: skip
"""The text tower comes from the checkpoint too: CAT-Seg fine-tunes queries and values of both towers."""
