"""`ovdeploy everything`: photos in; every thing that a grid of points finds out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import TextColumn, TimeRemainingColumn

from ..boundary.reading import to_json
from ..errors import OF_ONE_PHOTO, printable
from ..files import check_folder
from ..photo.listing import Listing
from ..photo.naming import result_names
from ..photo.sources import sources
from ..photo.stored import known_photo
from ..pipelines.promptable.everything.answer import Everything
from ..pipelines.promptable.everything.parameters import MOST_POINTS, EverythingParameters
from ..pipelines.promptable.interactive import Prompter
from ..recipe.parameters import with_overrides
from ..reporting import Reporter
from .common import bundle_option, engine_options, gpu_options, parse_settings, thread_option
from .failing import fail_cleanly, tell_failed
from .progress import progress_bar
from .tasks import OVERLAY, least_bytes, reserved_endings

POINTS_HELP = "Points along a side of the grid.  [default: 16 on a CPU, 32 on a GPU]"
COARSE_HELP = "Ask a coarse grid first, and later only where no mask lies. Fewer points; not the reference's answer."


@click.command()
@click.argument("photos", nargs=-1, required=True)
@bundle_option
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("ovdeploy-out"), show_default=True
)
@click.option("--points-per-side", type=click.IntRange(1, MOST_POINTS), help=POINTS_HELP)
@click.option("--coarse-to-fine", is_flag=True, help=COARSE_HELP)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter below; may be repeated.")
@engine_options
@thread_option
@gpu_options
@click.option("--json", "as_json", is_flag=True, help="One JSON line per photo on standard output, and no progress.")
@fail_cleanly
def everything(
    photos: tuple[str, ...],
    bundle: Path,
    output: Path,
    points_per_side: int | None,
    coarse_to_fine: bool,
    settings: tuple[str, ...],
    as_json: bool,
    **engines: Any,
) -> None:
    """Find every thing in PHOTOS (files, folders, globs), without words.

    SAM is asked at a grid of points, and the masks that are sure, stable and no copies of others are kept, as
    SamAutomaticMaskGenerator does it.

    For each photo two files go to --output: NAME.everything.overlay.png, with every thing in a colour of its own, and
    NAME.everything.json with boxes, areas, SAM's IoU estimates, stabilities, points, and the masks as COCO's run
    lengths. A photo in which nothing is found has an empty list. One that fails does not stop the others; the exit code
    is 1 if any did.

    Every point costs: SAM ViT-B's decoder takes about 0.15 CPU-seconds for one, so that 32 × 32 points are minutes of a
    CPU, and 16 × 16 about half a minute. The bundle needs the stage sam_prompt_decoder (export-engines --interactive).

    \b
    Parameters for --set, with the published defaults:
      iou_threshold 0.88        keep masks whose estimate is above this
      stability_threshold 0.95  keep masks that are as stable as this
      stability_offset 1.0      the offset of logits by which stability is measured
      box_threshold 0.7         drop the less sure of two whose boxes overlap more
      crop_layers 0             1 also asks in 2 × 2 crops, 2 in 4 × 4 too, …; finds smaller things
      crop_box_threshold 0.7    as box_threshold, between crops
      crop_overlap 0.341        of crops, as a share of the photo's short side
      crop_points_divisor 1     fewer points along a side for each layer
      min_area 0                fill holes and remove islands with fewer pixels
      prompt_batch              points in one call of the decoder; the bundle's, by default

    \b
    Example:
      ovdeploy everything photo.jpg --bundle engines/sam-b
      ovdeploy everything photos/ --bundle engines/sam-b --points-per-side 32 --set crop_layers=1 --set min_area=100
    """
    values = parse_settings(settings)
    if points_per_side is not None:
        values["points_per_side"] = points_per_side
    if coarse_to_fine:
        values["coarse_to_fine"] = True
    chosen = with_overrides(EverythingParameters(), values)  # a wrong value should not wait for the engines
    listed = Listing(sources(photos))
    check_folder(output, expected=least_bytes(listed, 0, (OVERLAY,)))
    failed = 0
    with Prompter.load(bundle, **engines) as prompter:
        if not as_json:
            _announce(prompter, chosen)
        for (photo, _), name in zip(listed, result_names(listed, reserved_endings()), strict=True):
            try:
                with _shown(photo, quiet=as_json) as progress:
                    found = prompter.everything(
                        known_photo(photo, allow_urls=False), parameters=values, progress=progress
                    )
                _write(found, output / f"{name}.everything", as_json)
            except OF_ONE_PHOTO as error:  # the next may be fine
                failed += 1
                tell_failed(error, photo, output, as_json)
    if not as_json:
        click.echo(f"{len(listed) - failed} of {len(listed)} photos done, in {output}", err=True)
    sys.exit(1 if failed else 0)


def _announce(prompter: Prompter, settings: EverythingParameters) -> None:
    side = settings.points_per_side or prompter.points_per_side
    crops = ", and in crops" if settings.crop_layers else ""
    click.echo(f"engines: {prompter.backend}, {prompter.precision}; {side} × {side} points a photo{crops}", err=True)


@contextmanager
def _shown(photo: str, *, quiet: bool) -> Iterator[Reporter]:
    """A bar for one photo, which its reporter moves."""
    columns = (TextColumn("{task.fields[event]}"), TimeRemainingColumn())
    with progress_bar(Console(stderr=True), *columns, quiet=quiet, transient=True) as bar:
        task = bar.add_task(escape(printable(os.path.basename(photo))), total=1.0, event="encoding")

        def tell(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
            bar.update(task, completed=share or 0.0, event=event)

        yield tell


def _write(found: Everything, stem: Path, as_json: bool) -> None:
    found.save_overlay(f"{stem}.overlay.png")
    found.save_json(f"{stem}.json")
    if as_json:
        click.echo(to_json({"image": found.path, "output": str(stem), **found.to_dict()}).decode())
        return
    seconds = found.timings["total"] / 1e3
    click.echo(f"{stem}.*  {len(found.instances)} things  {found.points} points  {seconds:.1f} s")
