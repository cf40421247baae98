"""The contract of every stage: names, types, shapes, layouts and ranges."""

from __future__ import annotations

from collections.abc import Callable

from ....runtime.geometry.dimensions import Dimensions
from ....runtime.stage.contract import Dim, StageContract, TensorSpec
from ..networks import Networks

UNIT = "unit length over channels"
ANY = "any"


def stage_contract(stage: str, networks: Networks) -> StageContract:
    """What a stage of these networks takes and gives."""
    return CONTRACTS[stage](networks)


def _tensor(name: str, shape: tuple[Dim, ...], layout: str, values: str = ANY, dtype: str = "float32") -> TensorSpec:
    return TensorSpec(name=name, dtype=dtype, shape=shape, layout=layout, range=values)


def _windows(networks: Networks) -> TensorSpec:
    crop = networks.recipe.parameters.crop
    return _tensor("windows", ("B", 3, crop, crop), "window, RGB, y, x", "0 to 1")


def _dino_features(networks: Networks) -> TensorSpec:
    grid = networks.dimensions.feature_grid
    return _tensor("features", ("B", networks.extractor.width, *grid), "window, channel, y, x", UNIT)


def _mean_similarity() -> TensorSpec:
    return _tensor("mean_similarity", ("B",), "window", "-1 to 1")


def _sam_features(networks: Networks, name: str) -> TensorSpec:
    grid, channels = networks.dimensions.sam_grid, networks.models["sam"].prompt_encoder.embed_dim
    return _tensor(name, (1, channels, grid, grid), "image, channel, y, x")


def _affinity(networks: Networks) -> TensorSpec:
    tokens = networks.dimensions.sam_grid**2
    return _tensor("affinity", (tokens, tokens), "to token, from token", "0 to 1; valid rows sum to 1")


def _width(networks: Networks) -> int:
    return int(networks.models["clip"].visual.ln_post.normalized_shape[0])


def _text_encoder(networks: Networks) -> StageContract:
    size: Dimensions = networks.dimensions
    return StageContract(
        stage="text_encoder",
        inputs=(_tensor("tokens", ("P", size.context_length), "prompt, token", "token ids", "int32"),),
        outputs=(_tensor("features", ("P", size.embedding), "prompt, channel"),),
    )


def _dino(networks: Networks) -> StageContract:
    return StageContract(
        stage="dino", inputs=(_windows(networks),), outputs=(_dino_features(networks), _mean_similarity())
    )


def _clip_image(networks: Networks) -> StageContract:
    grid = networks.dimensions.feature_grid
    similarity: tuple[TensorSpec, ...] = ()
    if networks.recipe.row.proxy:
        features = _dino_features(networks)
        similarity = (_tensor("dino_features", features.shape, features.layout, UNIT), _mean_similarity())
    return StageContract(
        stage="clip_image",
        inputs=(_windows(networks), *similarity),
        outputs=(_tensor("features", ("B", _width(networks), *grid), "window, channel, y, x"),),
    )


def _sam_encoder(networks: Networks) -> StageContract:
    side, tokens = networks.dimensions.sam_side, networks.dimensions.sam_grid**2
    inputs = [_tensor("image", (1, 3, side, side), "image, RGB, y, x", "0 to 255; sam_padding outside the photo")]
    outputs = [_sam_features(networks, "features")]
    if networks.recipe.row.affinity:
        inputs += [_tensor("valid_tokens", (tokens,), "token", "1 inside the photo, 0 outside")]
        if networks.recipe.parameters.affinity_kind != "attention":
            inputs += [
                _tensor("affinity_factor", (), "scalar", "0 or more"),
                _tensor("keep_negative", (), "scalar", "true or false", "bool"),
            ]
        outputs += [_affinity(networks)]
    return StageContract(stage="sam_encoder", inputs=tuple(inputs), outputs=tuple(outputs))


def _head(networks: Networks) -> StageContract:
    h, w = networks.dimensions.feature_grid
    inputs = [
        _tensor("window_features", ("Wy", "Wx", _width(networks), h, w), "window row, window column, channel, y, x"),
        _tensor("embeddings", ("Q", networks.dimensions.embedding), "query, channel", "unit length"),
    ]
    grid: tuple[Dim, Dim] = ("Ly", "Lx")
    if networks.recipe.row.across == "features":
        grid = ("vh", "vw")
        inputs += [
            _tensor("row_weights", ("vh", "Wy", h), "row, window row, y", "0 to 1; sums to 1"),
            _tensor("column_weights", ("vw", "Wx", w), "column, window column, x", "0 to 1; sums to 1"),
            _affinity(networks),
        ]
    return StageContract(
        stage="head",
        inputs=tuple(inputs),
        outputs=(_tensor("logits", ("Q", *grid), "query, y, x", "-1 to 1 with unit embeddings"),),
    )


def _sam_decoder(networks: Networks) -> StageContract:
    side, mask = networks.dimensions.sam_side, networks.dimensions.mask_side
    pixels = f"0 to {side}"
    prompts = {
        "point": _tensor("points", ("R", 2), "region, x y in SAM's pixels", pixels),
        "box": _tensor("boxes", ("R", 4), "region, x0 y0 x1 y1 in SAM's pixels", pixels),
        "mask": _tensor("mask_prompts", ("R", 1, mask, mask), "region, mask, y, x", "0 to 1 times mask_prompt_scale"),
    }
    chosen = [tensor for kind, tensor in prompts.items() if kind in networks.recipe.parameters.prompts]
    return StageContract(
        stage="sam_decoder",
        inputs=(_sam_features(networks, "sam_features"), *chosen),
        outputs=(
            _tensor("low_res_logits", ("R", 1, mask, mask), "region, mask, y, x"),
            _tensor("iou", ("R",), "region", "about 0 to 1"),
        ),
    )


def _sam_prompt_decoder(networks: Networks) -> StageContract:
    side, mask = networks.dimensions.sam_side, networks.dimensions.mask_side
    masks = 1 + networks.models["sam"].mask_decoder.num_multimask_outputs
    labels = "1 foreground, 0 background, 2 and 3 a box's corners, -1 padding"
    return StageContract(
        stage="sam_prompt_decoder",
        inputs=(
            _sam_features(networks, "sam_features"),
            _tensor("points", ("R", "N", 2), "prompt, point, x y in SAM's pixels", f"0 to {side}"),
            _tensor("labels", ("R", "N"), "prompt, point", labels, "int32"),
            _tensor("mask_prompts", ("R", 1, mask, mask), "prompt, mask, y, x", "logits of a round before"),
            _tensor("has_mask", ("R",), "prompt", "true or false", "bool"),
        ),
        outputs=(
            _tensor("low_res_logits", ("R", masks, mask, mask), "prompt, mask (the single one first), y, x"),
            _tensor("iou", ("R", masks), "prompt, mask", "about 0 to 1"),
        ),
    )


def _clip_layers(networks: Networks) -> StageContract:
    visual = networks.models["clip"].visual
    side = networks.recipe.parameters.crop // visual.patch_size[0]
    depth = len(visual.transformer.resblocks)
    layout = "window, block, channel, y, x (CLIP's own grid)"
    return StageContract(
        stage="clip_layers",
        inputs=(_windows(networks),),
        outputs=(_tensor("features", ("B", depth, _width(networks), side, side), layout),),
    )


CONTRACTS: dict[str, Callable[[Networks], StageContract]] = {
    "text_encoder": _text_encoder,
    "dino": _dino,
    "clip_image": _clip_image,
    "sam_encoder": _sam_encoder,
    "head": _head,
    "sam_decoder": _sam_decoder,
    "sam_prompt_decoder": _sam_prompt_decoder,
    "clip_layers": _clip_layers,
}
