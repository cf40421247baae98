"""The two stages of Grounding DINO, declared: modules, inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ....runtime.stage.contract import TensorSpec
from ..maker import StageMaker, tensor
from .ground_detector import GroundDetector
from .ground_text import GroundText

PHRASES = (
    tensor("position_ids", (1, "L"), "batch, token", "0 to 255, counted from 0 in each phrase", "int32"),
    tensor("attends", (1, "L", "L"), "batch, token, token that it sees", "whether both are of one phrase", "bool"),
)
"""What both stages are told of the phrases."""


def text_inputs() -> tuple[TensorSpec, ...]:
    """What the text stage takes."""
    return (tensor("tokens", (1, "L"), "batch, token", "numbers of BERT's vocabulary", "int32"), *PHRASES)


def text_outputs(features: int) -> tuple[TensorSpec, ...]:
    """What it gives, `features` to a token."""
    return (tensor("text_features", (1, "L", features), "batch, token, channel"),)


def detector_inputs(height: int, width: int, features: int) -> tuple[TensorSpec, ...]:
    """What the detector stage takes.

    Args:
        height: of the image, in pixels.
        width: likewise.
        features: the length of a token's.
    """
    return (
        tensor("image", (1, 3, height, width), "batch, RGB, y, x", "[0, 255]; the photo top left"),
        tensor("extent", (2,), "height and width of the photo", "1 to the image's, in pixels", "int32"),
        *text_outputs(features),
        *PHRASES,
    )


def detector_outputs(queries: int) -> tuple[TensorSpec, ...]:
    """What the detector stage gives."""
    return (
        tensor("logits", (1, queries, "L"), "batch, query, token", "before the sigmoid"),
        tensor("boxes", (1, queries, 4), "batch, query, cx cy w h", "shares of the photo"),
    )


def makers(model: Callable[[Any], Any]) -> tuple[StageMaker, StageMaker]:
    """The makers of the text stage and the detector stage.

    Args:
        model: takes the networks of a recipe, gives transformers' `GroundingDinoForObjectDetection`.
    """

    def width(networks: Any) -> int:
        return int(model(networks).config.d_model)

    def detector_specs(networks: Any) -> tuple[TensorSpec, ...]:
        height, of_image = model(networks).image_size
        return detector_inputs(height, of_image, width(networks))

    text = StageMaker(
        module=lambda networks: GroundText(model(networks)),
        inputs=lambda networks: text_inputs(),
        outputs=lambda networks: text_outputs(width(networks)),
    )
    detector = StageMaker(
        module=lambda networks: GroundDetector(model(networks), model(networks).image_size),
        inputs=detector_specs,
        outputs=lambda networks: detector_outputs(model(networks).config.num_queries),
    )
    return text, detector
