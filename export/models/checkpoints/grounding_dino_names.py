"""Names of Grounding DINO's tensors in its published files, which transformers before 5 wrote."""

from __future__ import annotations

from .naming import Naming, Row

TOWER = "model.backbone.conv_encoder.model"
BLOCK = "encoder.layers.{n}.blocks.{m}"

RENAMED = {
    "attention.self.query.{w}": "attention.q_proj.{w}",
    "attention.self.key.{w}": "attention.k_proj.{w}",
    "attention.self.value.{w}": "attention.v_proj.{w}",
    "attention.self.relative_position_bias_table": "attention.relative_position_bias.relative_position_bias_table",
    "attention.output.dense.{w}": "attention.o_proj.{w}",
    "intermediate.dense.{w}": "mlp.fc1.{w}",
    "output.dense.{w}": "mlp.fc2.{w}",
    "layernorm_before.{w}": "layernorm_before.{w}",
    "layernorm_after.{w}": "layernorm_after.{w}",
}
"""Within a block of the image tower."""

MADE = "the model makes it itself"


def grounding_dino(layers: int) -> Naming:
    """The published names.

    Args:
        layers: of the decoder. All share one head for boxes, of which files hold one copy or several.
    """
    heads = [f"{owner}bbox_embed.{index}" for owner in ("", "model.decoder.") for index in range(layers)]
    return Naming(
        "Grounding DINO's in transformers",
        "transformers 4.40's modeling_grounding_dino.py, as in IDEA-Research/grounding-dino-tiny's model.safetensors",
        (f"{TOWER}.embeddings.patch_embeddings.projection.weight", "model.text_projection.weight"),
        (
            *(Row(f"{TOWER}.{BLOCK}.{old}", f"{TOWER}.swin.{BLOCK}.{new}") for old, new in RENAMED.items()),
            Row(f"{TOWER}.{BLOCK}.attention.self.relative_position_index", None, why=MADE),
            Row(f"{TOWER}.encoder.layers.{{n}}.downsample.{{rest}}",
                f"{TOWER}.swin.encoder.layers.{{n}}.downsample.{{rest}}"),
            Row(f"{TOWER}.embeddings.{{rest}}", f"{TOWER}.swin.embeddings.{{rest}}"),
            Row("model.text_backbone.embeddings.position_ids", None, why=MADE),
            *(Row(f"{theirs}.{{rest}}", f"{ours}.{{rest}}") for theirs in heads for ours in heads),
        ),
        keeps=True,
    )  # fmt: skip
