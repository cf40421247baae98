"""Segmentation on the deploy box: numpy and OpenCV, no PyTorch.

from ovdeploy.runtime import Segmenter
with Segmenter.load("engines/trident-b16") as segmenter:
    result = segmenter.segment("photo.jpg", segmenter.vocabulary(["cup; mug", "table"]))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .backends import telemetry as _telemetry

if TYPE_CHECKING:
    from .answers.instance import Instance
    from .answers.region import Region
    from .answers.result import Result
    from .answers.rle import Rle
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
        VideoError,
        VocabularyError,
        WrongTypeError,
    )
    from .photo.reading import load_photo
    from .pipelines.base import Segmenter
    from .pipelines.encoded import EncodedPhoto
    from .pipelines.encoded_photos import EncodedPhotos
    from .pipelines.prompt_input import Prompt
    from .pipelines.promptable.everything.answer import Everything, PromptedInstance
    from .pipelines.promptable.everything.parameters import EverythingParameters
    from .pipelines.promptable.interactive import Prompter
    from .pipelines.prompted import PromptablePhoto, PromptedMasks
    from .pipelines.tracking.answers import Tracked, TrackedObject
    from .pipelines.tracking.tracker import Tracker
    from .recipe.parameters import Parameters
    from .recipe.parameters_file import load_parameters
    from .recipe.recipe import Recipe, available_recipes, load_recipe
    from .words.vocabulary import Vocabulary

__all__ = [
    "Bundle",
    "BundleError",
    "DatasetError",
    "EncodedPhoto",
    "EncodedPhotos",
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
    "Tracked",
    "TrackedObject",
    "Tracker",
    "VideoError",
    "Vocabulary",
    "VocabularyError",
    "WrongTypeError",
    "available_recipes",
    "load_parameters",
    "load_photo",
    "load_recipe",
]

_HOMES = {
    "answers.instance": ("Instance",),
    "answers.region": ("Region",),
    "answers.result": ("Result",),
    "answers.rle": ("Rle",),
    "bundle.bundle": ("Bundle",),
    "errors": (
        "BundleError",
        "DatasetError",
        "EngineError",
        "FileError",
        "MissingExtraError",
        "OutputError",
        "OvdeployError",
        "OvdeployWarning",
        "ParameterError",
        "PhotoError",
        "PromptError",
        "RecipeError",
        "VideoError",
        "VocabularyError",
        "WrongTypeError",
    ),
    "photo.reading": ("load_photo",),
    "pipelines.base": ("Segmenter",),
    "pipelines.encoded": ("EncodedPhoto",),
    "pipelines.encoded_photos": ("EncodedPhotos",),
    "pipelines.prompt_input": ("Prompt",),
    "pipelines.promptable.everything.answer": ("Everything", "PromptedInstance"),
    "pipelines.promptable.everything.parameters": ("EverythingParameters",),
    "pipelines.promptable.interactive": ("Prompter",),
    "pipelines.prompted": (
        "PromptablePhoto",
        "PromptedMasks",
    ),
    "pipelines.tracking.answers": ("Tracked", "TrackedObject"),
    "pipelines.tracking.tracker": ("Tracker",),
    "recipe.parameters": ("Parameters",),
    "recipe.parameters_file": ("load_parameters",),
    "recipe.recipe": (
        "Recipe",
        "available_recipes",
        "load_recipe",
    ),
    "words.vocabulary": ("Vocabulary",),
}
"""The modules behind the names. They are imported when a name is asked for: `ovdeploy --version` needs none."""

_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, or a module of this package, imported now."""
    if name in _HOME_OF:
        value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value  # it is not asked for again
        return value
    if not name.startswith("_"):
        try:
            return import_module(f".{name}", __name__)
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


_telemetry.switch_off()  # before any inference engine is imported
