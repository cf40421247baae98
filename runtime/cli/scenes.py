"""`ovdeploy scenes`: drawn pictures with exact label maps."""

from __future__ import annotations

import json
from pathlib import Path

import click
from PIL import Image

from ..files import atomic_path, check_folder
from ..geometry.limits import PHOTOS, SEEDS
from ..scenes import FIRST_TEST_SEED, draw_scene
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
@click.option("--json", "as_json", is_flag=True, help="One JSON line per scene, with its captions.")
@fail_cleanly
def scenes(output: Path, seed: int, count: int, held_out: bool, as_json: bool) -> None:
    """Draw scenes: things named by colour and pattern, on grass, sand, water, brick, sky and wood.

    For each scene SEED.png and SEED.labels.png go to --output; labels are indices into
    ovdeploy.runtime.scenes.ALL_NAMES. Prints the names of what is there, as --classes of `ovdeploy segment` takes them.
    The exit code is 1 if a file cannot be written.

    \b
    Example:
      ovdeploy scenes --count 3 --output scenes
    """
    check_folder(output)
    for number in range(seed, seed + count):
        scene = draw_scene(number, held_out=held_out)
        for name, pixels in ((f"{number}.png", scene.photo), (f"{number}.labels.png", scene.labels)):
            with atomic_path(output / name) as temporary:
                Image.fromarray(pixels).save(temporary, format="PNG")
        told = {"image": str(output / f"{number}.png"), "names": scene.names, "captions": scene.captions}
        click.echo(json.dumps(told) if as_json else f"{told['image']}: {', '.join(scene.names)}")
