"""Labelled photos to measure on: the benchmarks' folders, described by data files, and drawn scenes.

from ovdeploy.runtime.datasets import load_spec
load_spec("voc21").entries  # "sky; wall; …", "aeroplane", …: what Segmenter.vocabulary takes, in the labels' order
"""

from __future__ import annotations

from .folders import FolderDataset
from .sample import IGNORED, Dataset, Sample, Thing
from .scenes import ScenesDataset
from .spec import DatasetSpec, LabelFiles, available_specs, load_spec

__all__ = [
    "IGNORED",
    "Dataset",
    "DatasetSpec",
    "FolderDataset",
    "LabelFiles",
    "Sample",
    "ScenesDataset",
    "Thing",
    "available_specs",
    "load_spec",
]
