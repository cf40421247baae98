"""`ovdeploy scenes`: drawn pictures with exact label maps, and clips with identities."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from ..answers.writing import write_json
from ..files import atomic_path, check_folder
from ..geometry.limits import CLIP_FRAMES, PHOTOS, SEEDS
from ..scenes import FIRST_TEST_SEED, Clip, draw_clip, draw_scene
from .common import fail_cleanly


@click.command()
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), default=Path("scenes"), show_default=True)
@click.option(
    "--seed",
    type=click.IntRange(0, SEEDS),
    default=FIRST_TEST_SEED,
    show_default=True,
    help=f"Of the first scene. The miniature models were trained on seeds below {FIRST_TEST_SEED}.",
)
@click.option("--count", type=click.IntRange(1, PHOTOS), default=1, show_default=True)
@click.option("--held-out", is_flag=True, help="With combinations of colour and pattern that training never drew.")
@click.option("--frames", type=click.IntRange(1, CLIP_FRAMES), help="Draw clips of so many frames: things move.")
@click.option("--json", "as_json", is_flag=True, help="One JSON line per scene, with its captions.")
@fail_cleanly
def scenes(output: Path, seed: int, count: int, held_out: bool, frames: int | None, as_json: bool) -> None:
    """Draw scenes: things named by colour and pattern, on grass, sand, water, brick, sky and wood.

    For each scene SEED.png and SEED.labels.png go to --output; labels are indices into
    ovdeploy.runtime.scenes.ALL_NAMES. Prints the names of what is there, as --classes of `ovdeploy segment` takes them.
    The exit code is 1 if a file cannot be written.

    With --frames a scene is a clip. Its frames go to the folder SEED; SEED.owners has, in pictures of the same names,
    the number of the thing that a pixel belongs to, 0 for none; SEED.json has the things' names and ways in the
    order of their numbers.

    \b
    Example:
      ovdeploy scenes --count 3 --output scenes
      ovdeploy scenes --frames 20 --output clips
    """
    check_folder(output)
    for number in range(seed, seed + count):
        told = _clip(output, number, frames, held_out) if frames else _scene(output, number, held_out)
        click.echo(json.dumps(told) if as_json else f"{told['image']}: {', '.join(told['names'])}")


def _scene(output: Path, seed: int, held_out: bool) -> dict[str, Any]:
    scene = draw_scene(seed, held_out=held_out)
    _save(output / f"{seed}.png", scene.photo)
    _save(output / f"{seed}.labels.png", scene.labels)
    return {"image": str(output / f"{seed}.png"), "names": scene.names, "captions": scene.captions}


def _clip(output: Path, seed: int, frames: int, held_out: bool) -> dict[str, Any]:
    clip: Clip = draw_clip(seed, frames, held_out=held_out)
    for index, (frame, owners) in enumerate(zip(clip.frames, clip.owners, strict=True)):
        _save(output / str(seed) / f"{index:05}.png", frame)
        _save(output / f"{seed}.owners" / f"{index:05}.png", owners)
    told = {"image": str(output / str(seed)), "names": clip.names, "ways": clip.ways}
    write_json(output / f"{seed}.json", told)
    return told


def _save(path: Path, pixels: np.ndarray) -> None:
    with atomic_path(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG")
