"""`ovdeploy layers`. What measures is imported when the command runs, not before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ...runtime.bundle.bundle import Bundle
from ...runtime.bundle.opening import open_stage
from ...runtime.cli.common import Choice, bundle_argument, engine_options, fail_cleanly, parse_settings
from ...runtime.cli.progress import progress_bar
from ...runtime.errors import PhotoError
from ...runtime.files import atomic_path, check_folder
from ...runtime.geometry.limits import BLOCKS, PHOTOS
from ...runtime.photo.reading import as_photo
from ...runtime.recipe.recipe import load_recipe
from ...runtime.recipe.writing import check_writable, write_parameters

if TYPE_CHECKING:
    from .measure import BlockStatistics, LayerMeter

KEY = "similarity_layers"


@click.command()
@bundle_argument
@click.option("--images", multiple=True, required=True, help="Photos, folders or globs to measure on; may be repeated.")
@click.option(
    "--count", type=click.IntRange(1, BLOCKS), help="How many blocks to propose. Default: 7 of 12, or that share."
)
@click.option("--prefer", type=Choice(["low", "high"]), default="low", show_default=True, help="Which entropies.")
@click.option("--limit", type=click.IntRange(1, PHOTOS), help="Stop after so many photos.")
@click.option(
    "--output", type=click.Path(path_type=Path), default=Path("layers.png"), show_default=True, help="The plot."
)
@click.option("--write", type=click.Path(path_type=Path), help="A recipe that gets the choice: changed, or made anew.")
@engine_options
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="Override a parameter; may be repeated.")
@click.option("--json", "as_json", is_flag=True, help="Print the statistics as JSON, and no progress bar.")
@fail_cleanly
def layers(
    bundle: Path,
    images: tuple[str, ...],
    count: int | None,
    prefer: Any,
    limit: int | None,
    output: Path,
    write: Path | None,
    backend: str,
    precision: str,
    settings: tuple[str, ...],
    as_json: bool,
) -> None:
    """Measure the spatial entropy of CLIP's blocks on your photos, and propose the blocks for s2clip.

    Every window that the method would see goes through the stage clip_layers (export-engines --stages clip_layers) and
    S2CLIP's Algorithm 1. A photo that cannot be read is told and left out. The exit code is 0 if at least one photo was
    measured, else 1.

    \b
    Example:
      ovdeploy layers --bundle engines/s2clip-b16 --images photos/ --write my-s2clip.toml
      export-engines my-s2clip.toml
    """
    from ...runtime.photo.sources import expand
    from ...runtime.pipelines.training_free.methods import method_of
    from ...runtime.pipelines.training_free.stages import LAYERS
    from .measure import LayerMeter, propose_layers
    from .plot import draw_layers

    opened = Bundle.load(bundle)
    check_folder(output.parent)
    if write:
        check_writable(write)
    parameters = opened.recipe.override(parse_settings(settings))
    photos = list(expand(images))[:limit]
    console = Console(stderr=True)
    with open_stage(opened, LAYERS, precision, backend) as session:
        meter = LayerMeter(opened.manifest, session, parameters)
        failed = list(_measured(meter, photos, parameters.max_pixels, console, quiet=as_json))
    if not meter.photos:
        raise PhotoError("no photo could be measured")
    blocks = meter.blocks()
    chosen = propose_layers([block.entropy for block in blocks], count, prefer)
    title = f"{opened.recipe.name}: CLIP's blocks on {meter.photos} photos"
    with atomic_path(output) as temporary:
        draw_layers(blocks, chosen, title).save(temporary, format="PNG")
    if write:
        write_parameters(write, opened.recipe, {KEY: list(chosen)})
        if not method_of(load_recipe(write)).layers:
            click.echo(f"note: method {load_recipe(write).method!r} does not use {KEY}; s2clip does", err=True)
    if as_json:
        told = {
            "photos": meter.photos,
            "failed": len(failed),
            "blocks": blocks,
            "proposed": chosen,
            "plot": str(output),
        }
        click.echo(msgspec.json.encode(told).decode())
        return
    _print(blocks, chosen)
    click.echo(f"{KEY} = {list(chosen)}")
    click.echo(f"the plot is in {output}" + (f", the choice in {write}" if write else ""), err=True)


def _measured(
    meter: LayerMeter, photos: list[Path], max_pixels: int, console: Console, *, quiet: bool
) -> Iterator[Path]:
    """Measure all photos, and yield those that could not be read."""
    with progress_bar(console, quiet=quiet) as progress:
        for path in progress.track(photos, description="measuring"):
            try:
                meter.add(as_photo(path, max_pixels))
            except PhotoError as error:
                click.echo(f"left out: {error}", err=True)
                yield path


def _print(blocks: list[BlockStatistics], chosen: tuple[int, ...]) -> None:
    table = Table("", "block", "spatial entropy", "deviation", "Gini coefficient", "correlation", box=None)
    for block in blocks:
        mark = "*" if block.block in chosen else ""
        values = (block.entropy, block.entropy_deviation, block.gini_coefficient, block.correlation)
        table.add_row(mark, str(block.block), *(f"{value:.4f}" for value in values))
    Console().print(table)
