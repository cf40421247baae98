"""How ESC-Net comes to its answer: `python tests/measure/escnet_pictures.py BUNDLE PICTURE.png [--seed N] [--words N]`.

A row for each word of a drawn scene: the photo; of each block the map that its prompts are made of, with the regions'
outlines and their points; and the probability that comes out. By the PyTorch reference; the words are the bundle's.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageDraw

from ovdeploy.export.reference.dense.reference import DenseReference
from ovdeploy.export.reference.networks import Networks
from ovdeploy.runtime import Bundle, Segmenter
from ovdeploy.runtime.scenes import draw_scene

PANEL, MARGIN, TITLE = 168, 8, 20
"""Side of a picture, what is around it, and above the first row, in pixels."""


def heat(values: np.ndarray) -> Image.Image:
    """[h, w] between its least and its largest → a panel, dark to bright."""
    scaled = (values - values.min()) / max(float(np.ptp(values)), 1e-9)
    colours = cv2.applyColorMap(np.round(255 * scaled).astype(np.uint8), cv2.COLORMAP_VIRIDIS)
    large = cv2.resize(colours[..., ::-1], (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
    return Image.fromarray(np.ascontiguousarray(large))


def prompted(values: np.ndarray, masks: np.ndarray, points: np.ndarray) -> Image.Image:
    """A block's map, with its regions' outlines and its points.

    Args:
        values: [h, w].
        masks: [K, h, w], 0 outside a region.
        points: [P, 2], x and y of places.
    """
    drawn, cell = np.array(heat(values)), PANEL / len(values)
    for mask in masks:
        inside = cv2.resize((mask > 0).astype(np.uint8), (PANEL, PANEL), interpolation=cv2.INTER_NEAREST)
        outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, (255, 255, 255), 1)
    image = Image.fromarray(drawn)
    for x, y in (points + 0.5) * cell:
        ImageDraw.Draw(image).ellipse((x - 4, y - 4, x + 4, y + 4), fill="red", outline="white")
    return image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle")
    parser.add_argument("picture", type=Path)
    parser.add_argument("--seed", type=int, default=1_000_004)
    parser.add_argument("--words", type=int, default=5, help="rows")
    given = parser.parse_args()
    scene = draw_scene(seed=given.seed)
    with Segmenter.load(given.bundle) as segmenter:
        vocabulary = segmenter.vocabulary(list(scene.names))
    networks = Networks.load(Bundle.load(given.bundle).manifest.recipe)
    reference = DenseReference(networks)
    with torch.no_grad():
        trace = reference.encode(scene.photo)
        reference.decide(trace, vocabulary)
        transformer = networks.modules[reference.head].transformer
        answer = transformer.answer(*trace.stages[reference.head][0].values())
    grid = transformer.sizes.grid
    photo = Image.fromarray(scene.photo).resize((PANEL, PANEL))
    titles = ["photo", *(f"block {number + 1}" for number in range(len(answer.maps))), "answer"]
    rows = []
    for word in range(min(given.words, len(vocabulary))):
        panels = [photo]
        for maps, prompts in zip(answer.maps, answer.prompts, strict=True):
            masks = prompts.masks[word].unflatten(1, (grid, grid)).numpy()
            points = transformer.pseudo_prompts.positions[prompts.places[word][prompts.used[word]]].numpy()
            panels.append(prompted(maps[word].numpy(), masks, points))
        rows.append([*panels, heat(answer.logits[word].sigmoid().numpy())])
    step = PANEL + MARGIN
    sheet = Image.new("RGB", (MARGIN + step * len(titles), TITLE + (step + TITLE) * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, panels in enumerate(rows):
        top = TITLE + row * (step + TITLE)
        for column, (title, panel) in enumerate(zip(titles, panels, strict=True)):
            name = vocabulary.names[row] if column == 0 else title
            draw.text((MARGIN + column * step, top - TITLE / 2), name, fill="black", anchor="lm")
            sheet.paste(panel, (MARGIN + column * step, top))
    sheet.save(given.picture)


if __name__ == "__main__":
    main()
