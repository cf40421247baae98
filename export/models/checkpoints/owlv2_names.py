"""Names of OWLv2's tensors in transformers' files: CLIP's, below `owlv2`, and the heads."""

from __future__ import annotations

from .clip_names import TRANSFORMERS_CLIP
from .naming import Naming, Row


def _below(row: Row) -> Row:
    """A row of CLIP's as OWLv2 has it: one norm is spelt otherwise."""
    theirs = f"owlv2.{row.theirs.replace('pre_layrnorm', 'pre_layernorm')}"
    return row._replace(theirs=theirs, ours=None if row.ours is None else f"clip.{row.ours}")


HEADS = ("class_head", "box_head", "objectness_head", "layer_norm")

OWLV2 = Naming(
    "transformers' Owlv2ForObjectDetection",
    "transformers' models/owlv2; as in google/owlv2-base-patch16-ensemble",
    ("owlv2.vision_model.embeddings.class_embedding", "class_head.dense0.weight", "objectness_head.dense0.weight"),
    (
        *(_below(row) for row in TRANSFORMERS_CLIP.rows),
        *(Row(f"{head}.{{rest}}", f"{head}.{{rest}}") for head in HEADS),
    ),
)
