"""Names of CLIP's tensors in the files of OpenAI, open_clip and transformers."""

from __future__ import annotations

from .naming import Naming, Row, as_scalar, attention_rows, block_rows, transposed

MADE = "the model makes it itself"

OPEN_CLIP = Naming(
    "open_clip's CLIP",
    "open_clip's model.CLIP, as in open_clip_pytorch_model.bin; OpenAI's ViT-B-16.pt has the same names",
    ("visual.conv1.weight", "visual.class_embedding", "token_embedding.weight"),
    (
        Row("logit_scale", "logit_scale", as_scalar),
        Row("attn_mask", None, why=MADE),
        Row("input_resolution", None, why="a size that OpenAI's files note; the model has its own"),
        Row("context_length", None, why="a size that OpenAI's files note; the model has its own"),
        Row("vocab_size", None, why="a size that OpenAI's files note; the model has its own"),
    ),
    keeps=True,
)

CUSTOM_TEXT = Naming(
    "open_clip's CustomTextCLIP",
    "open_clip's model.CustomTextCLIP, whose `convert_to_custom_text_state_dict` goes the other way",
    ("visual.conv1.weight", "visual.class_embedding", "text.token_embedding.weight"),
    (
        Row("text.attn_mask", None, why=MADE),
        *(
            Row(f"text.{name}", name)
            for name in ("positional_embedding", "text_projection", "token_embedding.weight", "ln_final.{w}")
        ),
        Row("text.transformer.{rest}", "transformer.{rest}"),
    ),
    keeps=True,
)

LAYER = {"layer_norm1": "ln_1", "layer_norm2": "ln_2", "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}


def _tower(theirs: str, ours: str) -> tuple[Row, ...]:
    """Rows of one of CLIP's transformers: transformers' CLIPEncoder."""
    layer, block = f"{theirs}.encoder.layers.{{n}}", f"{ours}.resblocks.{{n}}"
    return (
        *attention_rows(
            f"{layer}.self_attn.{{part}}.weight", f"{block}.attn.in_proj_weight", ("q_proj", "k_proj", "v_proj")
        ),
        *attention_rows(
            f"{layer}.self_attn.{{part}}.bias", f"{block}.attn.in_proj_bias", ("q_proj", "k_proj", "v_proj")
        ),
        *block_rows(layer, block, {"self_attn.out_proj": "attn.out_proj", **LAYER}),
        Row(f"{theirs}.embeddings.position_ids", None, why=f"{MADE}: 0, 1, 2, …"),
    )


TRANSFORMERS_CLIP = Naming(
    "transformers' CLIPModel",
    "transformers' models/clip; as in openai/clip-vit-base-patch16",
    ("vision_model.embeddings.class_embedding", "text_model.embeddings.token_embedding.weight"),
    (
        Row("logit_scale", "logit_scale"),
        Row("vision_model.embeddings.class_embedding", "visual.class_embedding"),
        Row("vision_model.embeddings.patch_embedding.weight", "visual.conv1.weight"),
        Row("vision_model.embeddings.position_embedding.weight", "visual.positional_embedding"),
        Row("vision_model.pre_layrnorm.{w}", "visual.ln_pre.{w}"),
        *_tower("vision_model", "visual.transformer"),
        Row("vision_model.post_layernorm.{w}", "visual.ln_post.{w}"),
        Row("visual_projection.weight", "visual.proj", transposed),
        Row("text_model.embeddings.token_embedding.weight", "token_embedding.weight"),
        Row("text_model.embeddings.position_embedding.weight", "positional_embedding"),
        *_tower("text_model", "transformer"),
        Row("text_model.final_layer_norm.{w}", "ln_final.{w}"),
        Row("text_projection.weight", "text_projection", transposed),
    ),
)

CLIP_NAMINGS = (OPEN_CLIP, CUSTOM_TEXT, TRANSFORMERS_CLIP)
