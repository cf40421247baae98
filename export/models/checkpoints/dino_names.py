"""Names of the tensors of DINO, DINOv2 and DINOv3 in the files of timm, Meta and transformers."""

from __future__ import annotations

import torch

from .naming import Naming, Row, attention_rows, block_rows

PRETRAINING = "only pre-training uses it"
MADE = "the model makes it itself"
NO_BIAS = "timm's DINOv3 has no biases on queries and values; those of the published small and base models are zero"


def _first(positions: torch.Tensor) -> torch.Tensor:
    """[1, 1, C]: the class token's of position embeddings [1, 1 + N, C]."""
    return positions[:, :1]


def _without_first(positions: torch.Tensor) -> torch.Tensor:
    """[1, N, C] of position embeddings [1, 1 + N, C]."""
    return positions[:, 1:]


def _no_keys(bias: torch.Tensor) -> torch.Tensor:
    """[2C]: the biases of queries and values of a [3C]; the keys' are masked out in DINOv3, whatever they are."""
    queries, _, values = bias.chunk(3)
    return torch.cat([queries, values])


def _registers(classes: str, positions: str) -> tuple[Row, ...]:
    """DINOv2 with registers: timm adds the class token's position to the token, once and for all.

    Source: timm's `vision_transformer._convert_dinov2`.
    """
    return (
        Row(classes, "cls_token", added=True),
        Row(positions, "cls_token", _first, added=True),
        Row(positions, "pos_embed", _without_first),
    )


TIMM = Naming(
    "timm's ViT",
    "timm's vision_transformer and eva, as in timm/vit_base_patch16_224.dino; the same names are in Meta's "
    "dino_vitbase16_pretrain.pth",
    ("cls_token", "patch_embed.proj.weight", "blocks.0.norm1.weight"),
    (Row("mask_token", None, why=PRETRAINING),),
    keeps=True,
)

META_DINOV2_REGISTERS = Naming(
    "Meta's DINOv2 with registers",
    "dinov2's vision_transformer.py, as in dinov2_vitb14_reg4_pretrain.pth",
    ("cls_token", "register_tokens", "pos_embed", "blocks.0.norm1.weight"),
    (
        Row("mask_token", None, why=PRETRAINING),
        Row("register_tokens", "reg_token"),
        *_registers("cls_token", "pos_embed"),
    ),
    keeps=True,
)

META_DINOV2_CHUNKS = Naming(
    "Meta's DINOv2 in chunks of blocks",
    "dinov2's vision_transformer.py with block_chunks, as its training saves it",
    ("cls_token", "patch_embed.proj.weight", "blocks.0.0.norm1.weight"),
    (Row("mask_token", None, why=PRETRAINING), Row("blocks.{m}.{n}.{rest}", "blocks.{n}.{rest}")),
    keeps=True,
)

META_DINOV3 = Naming(
    "Meta's DINOv3",
    "dinov3's vision_transformer.py, as in dinov3_vits16_pretrain_lvd1689m-08c60483.pth; after timm's eva "
    "`checkpoint_filter_fn`",
    ("cls_token", "storage_tokens", "blocks.0.norm1.weight"),
    (
        Row("mask_token", None, why=PRETRAINING),
        Row("rope_embed.periods", None, why=MADE),
        Row("storage_tokens", "reg_token"),
        Row("blocks.{n}.attn.qkv.bias", None, _no_keys, zero=NO_BIAS),
        Row("blocks.{n}.attn.qkv.bias_mask", None, why="it masks the bias, and there is none"),
        Row("blocks.{n}.ls1.gamma", "blocks.{n}.gamma_1"),
        Row("blocks.{n}.ls2.gamma", "blocks.{n}.gamma_2"),
    ),
    keeps=True,
)

LAYER = "encoder.layer.{n}"
"""A block of transformers' ViT and Dinov2."""

QUERY_KEY_VALUE = ("query", "key", "value")
PROJECTIONS = ("q_proj", "k_proj", "v_proj")

EMBEDDINGS = (
    Row("embeddings.patch_embeddings.projection.{w}", "patch_embed.proj.{w}"),
    Row("layernorm.{w}", "norm.{w}"),
)
TOKENS = (
    Row("embeddings.cls_token", "cls_token"),
    Row("embeddings.position_embeddings", "pos_embed"),
)


def _attention(theirs: str, names: tuple[str, str, str]) -> tuple[Row, ...]:
    return tuple(
        row
        for kind in ("weight", "bias")
        for row in attention_rows(f"{theirs}.{{part}}.{kind}", f"blocks.{{n}}.attn.qkv.{kind}", names)
    )


VIT_ROWS = (
    *TOKENS,
    *EMBEDDINGS,
    Row("pooler.dense.{w}", None, why="a layer for classification; no DINO was trained with one"),
    Row("embeddings.mask_token", None, why=PRETRAINING),
)
"""Of ViTModel, beside its blocks."""

TRANSFORMERS_VIT = Naming(
    "transformers' ViTModel",
    "transformers' models/vit, as in facebook/dino-vitb16",
    ("embeddings.cls_token", "encoder.layer.0.layernorm_before.weight"),
    (
        *VIT_ROWS,
        *_attention(f"{LAYER}.attention.attention", QUERY_KEY_VALUE),
        *block_rows(
            LAYER,
            "blocks.{n}",
            {
                "attention.output.dense": "attn.proj",
                "layernorm_before": "norm1",
                "layernorm_after": "norm2",
                "intermediate.dense": "mlp.fc1",
                "output.dense": "mlp.fc2",
            },
        ),
    ),
)

TRANSFORMERS_5_VIT = Naming(
    "transformers' ViTModel since version 5",
    "the state dict of transformers 5's models/vit; its save_pretrained still writes the older names",
    ("embeddings.cls_token", "layers.0.layernorm_before.weight"),
    (
        *VIT_ROWS,
        *_attention("layers.{n}.attention", PROJECTIONS),
        *block_rows(
            "layers.{n}",
            "blocks.{n}",
            {
                "attention.o_proj": "attn.proj",
                "layernorm_before": "norm1",
                "layernorm_after": "norm2",
                "mlp.fc1": "mlp.fc1",
                "mlp.fc2": "mlp.fc2",
            },
        ),
    ),
)

DINOV2_ROWS = (
    *EMBEDDINGS,
    Row("embeddings.mask_token", None, why=PRETRAINING),
    *_attention(f"{LAYER}.attention.attention", QUERY_KEY_VALUE),
    *_attention(f"{LAYER}.attention", PROJECTIONS),
    *block_rows(
        LAYER,
        "blocks.{n}",
        {
            "attention.output.dense": "attn.proj",
            "attention.o_proj": "attn.proj",
            "norm1": "norm1",
            "norm2": "norm2",
            "mlp.fc1": "mlp.fc1",
            "mlp.fc2": "mlp.fc2",
        },
    ),
    Row(f"{LAYER}.layer_scale1.lambda1", "blocks.{n}.ls1.gamma"),
    Row(f"{LAYER}.layer_scale2.lambda1", "blocks.{n}.ls2.gamma"),
)
"""Those with `_proj` are of the state dict of transformers 5; its save_pretrained still writes the older names."""

TRANSFORMERS_DINOV2 = Naming(
    "transformers' Dinov2Model",
    "transformers' models/dinov2, as in facebook/dinov2-base",
    ("embeddings.cls_token", "encoder.layer.0.norm1.weight"),
    (*TOKENS, *DINOV2_ROWS),
)

TRANSFORMERS_DINOV2_REGISTERS = Naming(
    "transformers' Dinov2WithRegistersModel",
    "transformers' models/dinov2_with_registers, as in facebook/dinov2-with-registers-base",
    ("embeddings.cls_token", "embeddings.register_tokens", "encoder.layer.0.norm1.weight"),
    (
        *_registers("embeddings.cls_token", "embeddings.position_embeddings"),
        Row("embeddings.register_tokens", "reg_token"),
        *DINOV2_ROWS,
    ),
)


def _dinov3(layer: str) -> tuple[Row, ...]:
    return (
        Row("embeddings.cls_token", "cls_token"),
        Row("embeddings.register_tokens", "reg_token"),
        Row("embeddings.mask_token", None, why=PRETRAINING),
        Row("embeddings.patch_embeddings.{w}", "patch_embed.proj.{w}"),
        *(
            Row(f"{layer}.attention.{name}.weight", "blocks.{n}.attn.qkv.weight", part=number)
            for number, name in enumerate(PROJECTIONS, 1)
        ),
        Row(f"{layer}.attention.q_proj.bias", None, zero=NO_BIAS),
        Row(f"{layer}.attention.v_proj.bias", None, zero=NO_BIAS),
        *block_rows(
            layer,
            "blocks.{n}",
            {
                "attention.o_proj": "attn.proj",
                "norm1": "norm1",
                "norm2": "norm2",
                "mlp.up_proj": "mlp.fc1",
                "mlp.down_proj": "mlp.fc2",
            },
        ),
        Row(f"{layer}.layer_scale1.lambda1", "blocks.{n}.gamma_1"),
        Row(f"{layer}.layer_scale2.lambda1", "blocks.{n}.gamma_2"),
        Row("norm.{w}", "norm.{w}"),
    )


TRANSFORMERS_DINOV3 = Naming(
    "transformers' DINOv3ViTModel",
    "transformers' models/dinov3_vit, as in facebook/dinov3-vits16-pretrain-lvd1689m",
    ("embeddings.cls_token", "layer.0.norm1.weight"),
    _dinov3("layer.{n}"),
)

TRANSFORMERS_5_DINOV3 = Naming(
    "transformers' DINOv3ViTModel since version 5",
    "the state dict of transformers 5's models/dinov3_vit; its save_pretrained still writes the older names",
    ("embeddings.cls_token", "model.layer.0.norm1.weight"),
    _dinov3("model.layer.{n}"),
)

DINO_NAMINGS = (
    META_DINOV2_REGISTERS,
    META_DINOV3,
    META_DINOV2_CHUNKS,
    TIMM,
    TRANSFORMERS_DINOV2_REGISTERS,
    TRANSFORMERS_DINOV2,
    TRANSFORMERS_VIT,
    TRANSFORMERS_5_VIT,
    TRANSFORMERS_DINOV3,
    TRANSFORMERS_5_DINOV3,
)
"""The particular before the general: the first whose marks a file has is taken."""
