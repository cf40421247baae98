"""Segmentation on the deploy box: numpy and OpenCV, no PyTorch.

from ovdeploy.runtime import Segmenter
with Segmenter.load("engines/trident-b16") as segmenter:
    result = segmenter.segment("photo.jpg", segmenter.vocabulary(["cup; mug", "table"]))
"""

from __future__ import annotations

from .answers.instance import Instance
from .answers.region import Region
from .answers.result import Result
from .answers.rle import Rle
from .backends import telemetry as _telemetry
from .bundle.bundle import Bundle
from .errors import (
    BundleError,
    DatasetError,
    EngineError,
    FileError,
    MissingExtraError,
    OutputError,
    OvdeployError,
    OvdeployWarning,
    ParameterError,
    PhotoError,
    PromptError,
    RecipeError,
    VocabularyError,
    WrongTypeError,
)
from .photo.reading import load_photo
from .pipelines.base import Segmenter
from .pipelines.prompt_input import Prompt
from .pipelines.promptable.everything.answer import Everything, PromptedInstance
from .pipelines.promptable.everything.parameters import EverythingParameters
from .pipelines.promptable.interactive import Prompter
from .pipelines.prompted import PromptablePhoto, PromptedMasks
from .recipe.parameters import Parameters
from .recipe.parameters_file import load_parameters
from .recipe.recipe import Recipe, available_recipes, load_recipe
from .words.vocabulary import Vocabulary

__all__ = [
    "Bundle",
    "BundleError",
    "DatasetError",
    "EngineError",
    "Everything",
    "EverythingParameters",
    "FileError",
    "Instance",
    "MissingExtraError",
    "OutputError",
    "OvdeployError",
    "OvdeployWarning",
    "ParameterError",
    "Parameters",
    "PhotoError",
    "Prompt",
    "PromptError",
    "PromptablePhoto",
    "PromptedInstance",
    "PromptedMasks",
    "Prompter",
    "Recipe",
    "RecipeError",
    "Region",
    "Result",
    "Rle",
    "Segmenter",
    "Vocabulary",
    "VocabularyError",
    "WrongTypeError",
    "available_recipes",
    "load_parameters",
    "load_photo",
    "load_recipe",
]

_telemetry.switch_off()  # before any inference engine is imported
