"""The options that say which labelled photos a command works on, and the dataset that they mean."""

from __future__ import annotations

from pathlib import Path

import click

from ..datasets import Dataset, FolderDataset, ScenesDataset, available_specs, load_spec
from ..evaluation.coco import CocoDataset
from ..geometry.limits import PHOTOS, SEEDS
from ..scenes import FIRST_TEST_SEED
from .common import Choice, together

SCENES = "scenes"
COCO = ".json"
EPILOG = (
    f"Datasets: {SCENES}, {', '.join(available_specs())}; or the path of a TOML file, or of a JSON file with COCO's "
    f"annotations of instances."
)

dataset_options = together(
    click.option("--dataset", "dataset_name", required=True, help="The labelled photos; see below."),
    click.option("--data", type=click.Path(path_type=Path), help="The folder that the benchmark lies in."),
    click.option(
        "--photos", type=click.IntRange(1, PHOTOS), help="Only the first so many.  [default: all; 300 scenes]"
    ),
    click.option("--held-out", is_flag=True, help="Scenes: draw combinations that training never drew."),
    click.option(
        "--names",
        "given",
        type=Choice(["present", "all"]),
        default="present",
        show_default=True,
        help="Scenes: give the names present and all stuff, or all names.",
    ),
    click.option(
        "--first-seed", default=FIRST_TEST_SEED, show_default=True, type=click.IntRange(0, SEEDS), help="Scenes."
    ),
)
template_option = click.option(
    "--template", "templates", multiple=True, help="A prompt with {} for the name, in place of the bundle's."
)


def open_dataset(
    name: str, data: Path | None, photos: int | None, *, held_out: bool, given: str, first_seed: int
) -> Dataset:
    """The dataset that the options mean.

    Raises:
        click.UsageError: a folder for scenes, or none for a benchmark.
        DatasetError: no such dataset, or it is not in the folder.
    """
    if name == SCENES:
        if data is not None:
            raise click.UsageError("scenes are drawn; --data is for benchmarks")
        return ScenesDataset(photos or 300, first_seed=first_seed, held_out=held_out, all_names=given == "all")
    if Path(name).suffix == COCO:
        if data is None:
            raise click.UsageError(f"give --data, the folder of the photos that {name} is about")
        return CocoDataset(name, data, photos=photos)
    spec = load_spec(name)
    if data is None:
        raise click.UsageError(f"give --data, the folder that {spec.name} lies in")
    return FolderDataset(spec, data, photos=photos)
