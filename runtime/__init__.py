"""Segmentation on the deploy box: numpy and OpenCV, no PyTorch.

from ovdeploy.runtime import Segmenter
with Segmenter.load("engines/trident-b16") as segmenter:
    result = segmenter.segment("photo.jpg", segmenter.vocabulary(["cup; mug", "table"]))
"""

from __future__ import annotations

from .bundle import Bundle
from .errors import (
    BundleError,
    DatasetError,
    EngineError,
    MissingExtraError,
    OvdeployError,
    ParameterError,
    PhotoError,
    PromptError,
    RecipeError,
    VocabularyError,
)
from .interactive import PromptablePhoto, PromptedMasks, Prompter
from .parameters import Parameters
from .parameters_file import load_parameters
from .photo import load_photo
from .pipeline import Segmenter
from .prompt_input import Prompt
from .recipe import Recipe, available_recipes, load_recipe
from .result import Region, Result
from .vocabulary import Vocabulary

__all__ = [
    "Bundle",
    "BundleError",
    "DatasetError",
    "EngineError",
    "MissingExtraError",
    "OvdeployError",
    "ParameterError",
    "Parameters",
    "PhotoError",
    "Prompt",
    "PromptError",
    "PromptablePhoto",
    "PromptedMasks",
    "Prompter",
    "Recipe",
    "RecipeError",
    "Region",
    "Result",
    "Segmenter",
    "Vocabulary",
    "VocabularyError",
    "available_recipes",
    "load_parameters",
    "load_photo",
    "load_recipe",
]
