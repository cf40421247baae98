"""The public functions, found by inspection, and good arguments for each."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

MODULES = ("ovdeploy.runtime", "ovdeploy.runtime.answers", "ovdeploy.runtime.scenes", "ovdeploy.runtime.datasets")
"""All of their `__all__` are doors."""

FURTHER = {
    "ovdeploy.runtime.parameters_file": ("save_parameters", "with_parameters"),
    "ovdeploy.runtime.photo": ("load_photo",),
}
BUILD_BOX = {"ovdeploy.export.models.weights": ("load_model", "read_checkpoint")}
"""Where PyTorch is."""

UNCALLED = {"Dataset", "Kind", "LabelFiles", "Outline", "Panoptic", "Polygon", "Subject"}
"""Protocols, rows of tables, and structs that msgspec makes of files."""


class Door(NamedTuple):
    """A function, method or class that users call."""

    name: str
    call: Callable[..., Any]
    parameters: tuple[str, ...]


@dataclass
class World:
    """What good arguments are made of."""

    bundle: Path
    tracking: Path
    """Another bundle, of a model with a memory."""
    folder: Path

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), np.uint8)
        Image.fromarray(self.image).save(self.photo)

    @property
    def photo(self) -> Path:
        return self.folder / "good.png"

    @cached_property
    def segmenter(self) -> Any:
        from ovdeploy.runtime import Segmenter

        return Segmenter.load(self.bundle, backend="onnxruntime", threads=1)

    @cached_property
    def prompter(self) -> Any:
        from ovdeploy.runtime import Prompter

        return Prompter.load(self.bundle, backend="onnxruntime", threads=1)

    @cached_property
    def tracker(self) -> Any:
        from ovdeploy.runtime import Tracker

        return Tracker.load(self.tracking, backend="onnxruntime", threads=1)

    @cached_property
    def vocabulary(self) -> Any:
        return self.segmenter.vocabulary(["cup; mug", "table"])

    @cached_property
    def result(self) -> Any:
        return self.segmenter.segment(self.image, self.vocabulary)

    @cached_property
    def encoded(self) -> Any:
        return self.segmenter.encode(self.image)

    @cached_property
    def promptable(self) -> Any:
        return self.prompter.encode(self.image)

    @cached_property
    def found(self) -> Any:
        keeping_all = {"points_per_side": 1, "iou_threshold": 0, "stability_threshold": 0}
        return self.prompter.everything(self.image, parameters=keeping_all)

    @cached_property
    def opened(self) -> Any:
        from ovdeploy.runtime import Bundle

        return Bundle.load(self.bundle)

    @cached_property
    def dataset(self) -> Path:
        """A benchmark of one photo, in a folder."""
        root = self.folder / "dataset"
        root.mkdir()
        Image.fromarray(self.image).save(root / "one.png")
        Image.fromarray(np.zeros((40, 52), np.uint8)).save(root / "one.labels.tif")
        return root

    @cached_property
    def spec(self) -> Any:
        from ovdeploy.runtime.datasets import DatasetSpec, LabelFiles

        labels = LabelFiles(path="{}.labels.tif", values="0-1")
        return DatasetSpec(name="n", title="t", source="s", classes=("a", "b"), photos=("{}.png",), labels=(labels,))

    def file(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.write_text(text)
        return path


def _parameters_file(world: World) -> Path:
    return world.file("parameters.toml", "[parameters]\nstride = 100\n")


LOADED: Callable[[World], dict[str, Any]] = lambda world: {"bundle": world.bundle, "threads": 1}  # noqa: E731
EMBEDDINGS = np.ones((2, 4), np.float32)
ERROR: Callable[[World], dict[str, Any]] = lambda world: {"message": "what came"}  # noqa: E731

GOOD: dict[str, Callable[[World], dict[str, Any]]] = {
    "Bundle": lambda w: {"path": w.bundle, "manifest": w.opened.manifest},
    "Bundle.load": lambda w: {"path": w.bundle},
    "Bundle.written_here": lambda w: {"path": w.bundle},
    "Bundle.stage": lambda w: {"name": "dino"},
    "Bundle.engine_path": lambda w: {"stage": "dino", "precision": "fp32"},
    "Bundle.census": lambda w: {"stage": "dino", "precision": "fp32"},
    "Bundle.verified": lambda w: {"entry": w.opened.manifest.text.tokenizer},
    "EngineError": lambda w: {"message": "what came", "stage": "dino"},
    "FileError": lambda w: {"message": "what came", "errno": 2},
    "MissingExtraError": lambda w: {"package": "onnx", "extra": "graph", "purpose": "counting"},
    "Parameters": lambda w: {},
    "Prompt": lambda w: {"points": [[1, 2]]},
    "PromptablePhoto.predict": lambda w: {"points": [[1, 2]]},
    "PromptablePhoto.predict_many": lambda w: {"prompts": [_prompt()]},
    "PromptedMasks": lambda w: {"masks": np.zeros((1, 4, 4), bool), "iou": np.ones(1), "low_res_logits": EMBEDDINGS},
    "Prompter.load": LOADED,
    "Prompter.encode": lambda w: {"photo": w.photo},
    "Prompter.everything": lambda w: {"photo": w.photo, "parameters": {"points_per_side": 2}},
    "Tracker.load": lambda w: {"bundle": w.tracking, "threads": 1},
    "Tracker.prompt": lambda w: {"frame": w.image, "object_id": 1, "points": [[1, 2]]},
    "Tracker.step": lambda w: {"frame": w.image},
    "Tracker.forget": lambda w: {"object_id": 5},
    "Tracker.reset": lambda w: {},
    "Tracked": lambda w: {"index": 0, "objects": (), "hw": (4, 6)},
    "Tracked.labels": lambda w: {},
    "TrackedObject": lambda w: {
        "id": 1, "mask": np.zeros((4, 4), bool), "score": 1.0, "low_res_logits": np.zeros((2, 2), np.float32)
    },
    "Everything": lambda w: {"instances": (), "photo": w.image, "points": 1, "points_per_side": 1, "timings": {}},
    "Everything.to_detections": lambda w: {"masks": True},
    "Everything.overlay": lambda w: {"opacity": 0.5},
    "Everything.save_json": lambda w: {"path": w.folder / "everything.json"},
    "Everything.save_overlay": lambda w: {"path": w.folder / "everything.png"},
    "EverythingParameters": lambda w: {},
    "PromptedInstance": lambda w: {
        "id": 1, "class_index": 0, "class_name": "a", "box_xyxy": (0, 0, 1, 1), "area": 4, "score": 0.5,
        "mask": RECEIVERS["Rle"](w), "iou": 0.5, "stability": 1.0, "point_xy": (0.5, 0.5), "crop_xyxy": (0, 0, 3, 3),
    },
    "Recipe": lambda w: {"name": "n"},
    "Recipe.override": lambda w: {"overrides": {"stride": 100}},
    "Region": lambda w: {
        "class_index": 0, "class_name": "a", "area": 1, "box_xyxy": (0, 0, 1, 1), "point_xy": (0, 0), "score": 0.5,
        "iou": 0.5, "refined": True,
    },
    "Result": lambda w: {
        "mask": w.result.mask, "coarse_mask": w.result.mask, "scores": w.result.scores, "names": ("a",),
        "regions": (), "timings": {}, "photo": w.image,
    },
    "Result.overlay": lambda w: {"opacity": 0.5, "legend": True},
    "Result.save_mask": lambda w: {"path": w.folder / "mask.png"},
    "Result.save_overlay": lambda w: {"path": w.folder / "overlay.png"},
    "Result.save_json": lambda w: {"path": w.folder / "result.json"},
    "Instance": lambda w: {
        "id": 1, "class_index": 0, "class_name": "a", "box_xyxy": (0, 0, 1, 1), "area": 4, "score": 0.5,
        "mask": RECEIVERS["Rle"](w),
    },
    "Result.to_coco": lambda w: {"polygons": True, "tolerance": 1, "min_area": 2},
    "Result.to_detections": lambda w: {"masks": False},
    "Result.to_panoptic": lambda w: {"file_name": "a.png", "stuff": ["cup"], "min_area": 2},
    "Result.to_geojson": lambda w: {"transform": (2.0, 0.0, 5.0, 0.0, -2.0, 7.0), "tolerance": 1, "min_area": 2},
    "Result.to_labelme": lambda w: {"tolerance": 1, "min_area": 2},
    "Result.to_polygons": lambda w: {"tolerance": 1, "min_area": 2},
    "Result.to_yolo": lambda w: {"min_area": 2},
    "Result.to_table": lambda w: {"min_area": 2},
    "check_kinds": lambda w: {"kinds": ["mask"]},
    "join_coco": lambda w: {"documents": [w.result.to_coco()], "root": None},
    "Result.instances": lambda w: {"min_area": 2},
    "Rle": lambda w: {"height": 1, "width": 2, "counts": np.array([1, 1])},
    "Rle.encode": lambda w: {"mask": np.eye(4, dtype=bool)},
    "Rle.from_coco": lambda w: {"segmentation": {"size": [1, 2], "counts": [1, 1]}},
    "kind_named": lambda w: {"name": "mask"},
    "paths_of": lambda w: {"kind": "mask", "stem": w.folder / "a"},
    "yolo_data": lambda w: {"names": ["a", "b"], "background": True, "images": "images"},
    "save_as": lambda w: {"result": w.result, "kinds": ["mask"], "stem": w.folder / "a"},
    "Segmenter.load": LOADED,
    "Segmenter.vocabulary": lambda w: {"classes": ["cup", "table"]},
    "Segmenter.segment": lambda w: {"photo": w.image, "vocabulary": w.vocabulary},
    "Segmenter.segment_many": lambda w: {"photos": [w.image], "vocabulary": w.vocabulary},
    "Segmenter.prompt": lambda w: {"photo": w.image},
    "Segmenter.encode": lambda w: {"photo": w.image},
    "Segmenter.load_encoded": lambda w: {"path": _encoded(w)},
    "EncodedPhoto.segment": lambda w: {"vocabulary": w.vocabulary},
    "EncodedPhoto.save": lambda w: {"path": w.folder / "encoded-again.npz"},
    "EncodedPhotos": lambda w: {"segmenter": w.segmenter, "most_bytes": 100},
    "EncodedPhotos.encode": lambda w: {"photo": w.image},
    "Vocabulary": lambda w: {"classes": ["a", "b"], "embeddings": EMBEDDINGS},
    "Vocabulary.save": lambda w: {"path": w.folder / "saved.npz"},
    "Vocabulary.load": lambda w: {"path": _saved(w)},
    "available_recipes": lambda w: {},
    "load_parameters": lambda w: {"path": _parameters_file(w)},
    "load_photo": lambda w: {"path": w.photo},
    "load_recipe": lambda w: {"name_or_path": "micro"},
    "save_parameters": lambda w: {"path": w.folder / "saved.toml", "values": {"stride": 100}},
    "with_parameters": lambda w: {"recipe": w.opened.recipe, "path": _parameters_file(w)},
    "draw_clip": lambda w: {"seed": 1, "frames": 2, "short_side": 32},
    "Clip": lambda w: {
        "frames": w.image[None], "owners": w.image[None, ..., 0], "labels": w.image[None, ..., 0], "names": (),
        "ways": (),
    },
    "draw_scene": lambda w: {"seed": 1},
    "Scene": lambda w: {"photo": w.image, "labels": w.image[..., 0], "names": (), "captions": ()},
    "load_spec": lambda w: {"name_or_path": "voc21"},
    "available_specs": lambda w: {},
    "DatasetSpec": lambda w: {
        "name": "n", "title": "t", "source": "s", "classes": ("a",), "photos": ("{}.jpg",), "labels": (),
    },
    "FolderDataset": lambda w: {"spec": w.spec, "root": w.dataset},
    "FolderDataset.read": lambda w: {"name": "one"},
    "Sample": lambda w: {"photo": w.image, "labels": w.image[..., 0]},
    "Thing": lambda w: {
        "class_index": 0, "mask": w.image[..., 0] > 99, "area": 4.0, "box_xywh": (1.0, 2.0, 3.0, 4.0), "crowd": False,
    },
    "ScenesDataset": lambda w: {"photos": 1},
    "ScenesDataset.read": lambda w: {"name": "1000000"},
    "load_model": lambda w: {"role": "dino", "choice": _dino(w)},
    "read_checkpoint": lambda w: {"path": _checkpoint(w)},
}  # fmt: skip
"""Good arguments; of an error without an entry, a message."""

RECEIVERS: dict[str, Callable[[World], Any]] = {
    "Bundle": lambda w: w.opened,
    "EncodedPhoto": lambda w: w.encoded,
    "EncodedPhotos": lambda w: _encoded_photos(w),
    "Everything": lambda w: w.found,
    "PromptedInstance": lambda w: w.found.instances[0],
    "Prompter": lambda w: w.prompter,
    "Tracker": lambda w: w.tracker,
    "Tracked": lambda w: w.tracker.step(w.image),
    "PromptablePhoto": lambda w: w.promptable,
    "Recipe": lambda w: w.opened.recipe,
    "Result": lambda w: w.result,
    "Rle": lambda w: _rle(),
    "Segmenter": lambda w: w.segmenter,
    "Vocabulary": lambda w: w.vocabulary,
    "FolderDataset": lambda w: _folder_dataset(w),
    "ScenesDataset": lambda w: _scenes(),
}
"""Objects whose methods are called."""

OPTIONAL = {
    "Result.to_detections": "supervision",
    "Result.to_table": "pyarrow",
    "Everything.to_detections": "supervision",
}
"""Doors that need a library; tried where it is installed."""

CLOSING = {"close"}
"""They take nothing, and would end the object for all other cases. tests/runtime/pipelines has tests of them."""

NOT_MADE = {"EncodedPhoto", "Segmenter", "Prompter", "PromptablePhoto", "Tracker"}
"""Classes that users open by `load`, and do not construct."""

THEIRS = {
    ("Segmenter.segment_many", "photos"), ("Segmenter.load", "wrap"), ("save_parameters", "comments"),
    ("Segmenter.vocabulary", "progress"), ("Prompter.everything", "progress"), ("join_coco", "documents"),
}  # fmt: skip
"""Iterators and functions of the user's: their own errors come through unchanged."""


def _prompt() -> Any:
    from ovdeploy.runtime import Prompt

    return Prompt(points=[[1, 2]])


def _rle() -> Any:
    from ovdeploy.runtime import Rle

    return Rle.encode(np.eye(4, dtype=bool))


def _saved(world: World) -> Path:
    path = world.folder / "vocabulary.npz"
    world.vocabulary.save(path)
    return path


def _encoded(world: World) -> Path:
    path = world.folder / "encoded.npz"
    world.encoded.save(path)
    return path


def _encoded_photos(world: World) -> Any:
    from ovdeploy.runtime import EncodedPhotos

    return EncodedPhotos(world.segmenter)


def _checkpoint(world: World) -> Path:
    import torch

    path = world.folder / "checkpoint.pt"
    torch.save({"a": torch.zeros(2)}, path)
    return path


def _dino(world: World) -> Any:
    """The bundle's DINO. Its libraries take seconds to import, once in a process: that is no call's fault."""
    importlib.import_module("ovdeploy.export.models.dino")
    return world.opened.recipe.models["dino"]


def _folder_dataset(world: World) -> Any:
    from ovdeploy.runtime.datasets import FolderDataset

    return FolderDataset(world.spec, world.dataset)


def _scenes() -> Any:
    from ovdeploy.runtime.datasets import ScenesDataset

    return ScenesDataset(1)


def public() -> dict[str, Any]:
    """All public objects that can be called, by name."""
    found: dict[str, Any] = {}
    for name in MODULES:
        module = importlib.import_module(name)
        found |= {each: getattr(module, each) for each in module.__all__}
    further = FURTHER | (BUILD_BOX if find_spec("torch") else {})
    for name, names in further.items():
        module = importlib.import_module(name)
        found |= {each: getattr(module, each) for each in names}
    return {name: each for name, each in found.items() if callable(each) and name not in UNCALLED}


def doors(world: World) -> Iterator[Door]:
    """Every public function, constructor and method that takes arguments."""
    for name, each in public().items():
        if not inspect.isclass(each):
            yield _door(name, each)
            continue
        if name not in NOT_MADE:
            yield _door(name, each)
        methods = [method for method, _ in inspect.getmembers(each, callable) if not method.startswith("_")]
        if issubclass(each, BaseException) or (methods and name not in RECEIVERS):
            methods = [method for method in methods if not hasattr(BaseException, method)]
            if methods:
                raise LookupError(f"{name} has methods ({', '.join(methods)}); give tests/support/vile a receiver")
        for method in methods:
            needed = OPTIONAL.get(f"{name}.{method}")
            if method in CLOSING or (needed and find_spec(needed) is None):
                continue
            yield _door(f"{name}.{method}", getattr(RECEIVERS[name](world), method))


def _door(name: str, call: Callable[..., Any]) -> Door:
    try:
        parameters = inspect.signature(call).parameters.values()
    except ValueError:  # exceptions without a constructor of their own
        return Door(name, call, ())
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return Door(name, call, tuple(each.name for each in parameters if each.kind not in kinds))


def good_arguments(door: Door, world: World) -> dict[str, Any]:
    """Arguments with which the door opens.

    Raises:
        LookupError: nobody has said which.
    """
    if door.name in GOOD:
        return GOOD[door.name](world)
    if not door.parameters:
        return {}
    raise LookupError(f"{door.name}({', '.join(door.parameters)}) is public; give tests/support/vile good arguments")
