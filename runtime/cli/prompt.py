"""`ovdeploy prompt`: points, boxes and a mask on a photo; SAM's masks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from PIL import Image, ImageDraw

from ..answers.writing import write_json
from ..boundary.reading import array_of, read_bytes, to_json
from ..errors import PromptError
from ..files import atomic_path, check_folder
from ..pipelines.promptable.interactive import Prompter
from ..pipelines.prompted import PromptedMasks
from .common import bundle_option, engine_options, fail_cleanly, gpu_options
from .object_options import numbers

SCHEMA = "ovdeploy/prompt/1"
COLOUR, OPACITY = (230, 60, 60), 0.45
POINT_HELP = "In photo pixels; label 1 (on the object, the default) or 0 (off it). May be repeated."
POINT_COLOURS = ("black", "white")
"""Of points off the object, and on it."""


@click.command()
@click.argument("image", type=click.Path(path_type=Path))
@bundle_option
@click.option("--point", "points", multiple=True, metavar="X,Y[,LABEL]", help=POINT_HELP)
@click.option("--box", metavar="X0,Y0,X1,Y1", help="In photo pixels.")
@click.option("--mask", type=click.Path(path_type=Path), help="A NAME.prompt.npy of a round before: its best mask.")
@click.option("--multi/--single", default=True, help="Three masks for what may be meant, or one.  [default: multi]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, file_okay=False), default=Path("ovdeploy-out"), show_default=True
)
@engine_options
@gpu_options
@click.option("--json", "as_json", is_flag=True, help="Print the answer as JSON.")
@fail_cleanly
def prompt(
    image: Path,
    bundle: Path,
    points: tuple[str, ...],
    box: str | None,
    mask: Path | None,
    multi: bool,
    output: Path,
    backend: str,
    precision: str,
    as_json: bool,
    **gpu: Any,
) -> None:
    """Segment one object of IMAGE by points, a box, a mask, or any of them together.

    Files go to --output: NAME.prompt.K.mask.png (0 and 255) for each mask, NAME.prompt.overlay.png of the best,
    NAME.prompt.json with SAM's IoU estimates, areas and boxes, and NAME.prompt.npy, which --mask takes to refine the
    answer. The bundle needs the stage sam_prompt_decoder (export-engines --interactive). The exit code is 1 if the
    photo, the prompt or the bundle cannot be used.

    \b
    Example:
      ovdeploy prompt photo.jpg --bundle engines/trident-b16 --point 300,200 --point 40,40,0
      ovdeploy prompt photo.jpg --bundle engines/trident-b16 --box 80,60,400,390 --mask ovdeploy-out/photo.prompt.npy
    """
    clicked = [numbers(text, (2, 3), "--point X,Y or X,Y,LABEL") for text in points]
    prompts: dict[str, Any] = {
        "points": [point[:2] for point in clicked] or None,
        "labels": [point[2] if len(point) == 3 else 1 for point in clicked] or None,
        "box": numbers(box, (4,), "--box X0,Y0,X1,Y1") if box else None,
        "mask": _best_logits(mask) if mask else None,
    }
    check_folder(output)
    with Prompter.load(bundle, backend=backend, precision=precision, **gpu) as prompter:
        photo = prompter.encode(image)
        answer = photo.predict(**prompts, multimask=multi)
        of = {"schema": SCHEMA, "path": str(image), "bundle": prompter.bundle}
        of |= {"backend": prompter.backend, "precision": prompter.precision}
    stem = output / f"{image.stem}.prompt"
    told = {**of, **_describe(answer)}
    _write(stem, photo.photo, answer, prompts, told)
    if as_json:
        click.echo(to_json({"image": str(image), "output": str(stem), **told}).decode())
        return
    for index, entry in enumerate(told["masks"]):
        mark = "*" if index == answer.best else " "
        click.echo(f"{mark} mask {index}  IoU {entry['iou']:.3f}  {entry['area']} pixels  box {entry['box_xyxy']}")
    click.echo(f"written to {stem}.*", err=True)


def _best_logits(path: Path) -> np.ndarray:
    """The best mask's logits of a round before: they are written first."""
    content = read_bytes(path, PromptError, "the mask")
    try:
        best: np.ndarray = array_of(content)[0]
        return best
    except Exception as error:  # NumPy raises many kinds on damaged files
        raise PromptError(f"{path} is not a NAME.prompt.npy of `ovdeploy prompt`: {error}") from error


def _describe(answer: PromptedMasks) -> dict[str, Any]:
    masks = []
    for mask, iou in zip(answer.masks, answer.iou, strict=True):
        ys, xs = np.nonzero(mask)
        box = [int(xs.min()), int(ys.min()), int(xs.max()), int(ys.max())] if len(xs) else None
        masks.append({"iou": float(iou), "area": len(xs), "box_xyxy": box})
    return {"best": answer.best, "masks": masks}


def _write(stem: Path, photo: np.ndarray, answer: PromptedMasks, prompts: dict[str, Any], told: dict[str, Any]) -> None:
    for index, mask in enumerate(answer.masks):
        with atomic_path(f"{stem}.{index}.mask.png") as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")
    with atomic_path(f"{stem}.overlay.png") as temporary:
        _overlay(photo, answer.masks[answer.best], prompts).save(temporary, format="PNG")
    with atomic_path(f"{stem}.npy") as temporary, open(temporary, "wb") as file:
        np.save(file, answer.low_res_logits[[answer.best, *np.delete(np.arange(len(answer.iou)), answer.best)]])
    write_json(f"{stem}.json", told)


def _overlay(photo: np.ndarray, mask: np.ndarray, prompts: dict[str, Any]) -> Image.Image:
    """The photo with the mask in colour, its outline, and the prompt's points and box."""
    blended = photo.astype(np.float32)
    blended[mask] = blended[mask] * (1 - OPACITY) + np.array(COLOUR) * OPACITY
    kernel = np.ones((3, 3), np.uint8)
    blended[cv2.dilate(mask.astype(np.uint8), kernel) != cv2.erode(mask.astype(np.uint8), kernel)] = 255
    image = Image.fromarray(np.round(blended).astype(np.uint8))
    draw, radius = ImageDraw.Draw(image), max(4, max(image.size) // 100)
    for (x, y), label in zip(prompts["points"] or (), prompts["labels"] or (), strict=True):
        on = bool(label)
        place = (x - radius, y - radius, x + radius, y + radius)
        draw.ellipse(place, fill=POINT_COLOURS[on], outline=POINT_COLOURS[not on])
    if prompts["box"]:
        draw.rectangle(prompts["box"], outline="white", width=max(1, radius // 2))
    return image
