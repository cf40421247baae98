"""The bar chart of a report, drawn with Pillow: a bar for each runner, made of its steps.

Pillow's own font has no multiplication sign and no dash.
"""

from __future__ import annotations

from PIL import Image, ImageDraw, ImageFont

from ..pictures.colours import palette
from ..reporting import OVERLAP
from .numbers import plain
from .report import Report, RunnerReport

WIDTH, BAR, GAP, MARGIN = 1000, 34, 16, 24
INK, REST = (40, 44, 52), (205, 208, 214)
"""REST is all that no step accounts for."""

SMALL = 0.004
"""Steps below this share of every bar are drawn with the rest."""


def draw_chart(report: Report) -> Image.Image:
    """Medians of every runner's steps, as bars of one scale.

    Args:
        report: of a run.
    """
    font, small = ImageFont.load_default(15), ImageFont.load_default(13)
    shown = _shown(report)
    left = MARGIN + max(int(font.getlength(runner.label)) for runner in report.runners) + 12
    room = WIDTH - left - MARGIN - 150
    longest = max(runner.whole.milliseconds.median for runner in report.runners) or 1.0
    rows = _legend_rows(shown, small)
    height = MARGIN * 3 + 24 + (BAR + GAP) * len(report.runners) + 22 * len(rows)
    image = Image.new("RGB", (WIDTH, height), "white")
    draw = ImageDraw.Draw(image)
    h, w = report.photo_hw
    noisy = "" if report.noise.judgeable else " (too noisy to judge)"
    title = f"{report.bundle}: ms a photo ({w}x{h}), median of {report.rounds} rounds{noisy}"
    draw.text((MARGIN, MARGIN), title, fill=INK, font=ImageFont.load_default(18))
    top = MARGIN * 2 + 24
    for runner in report.runners:
        draw.text((left - 10, top + BAR // 2), runner.label, fill=INK, font=font, anchor="rm")
        _bar(draw, runner, shown, (left, top), room / longest, font)
        top += BAR + GAP
    _legend(draw, rows, shown, top, small)
    return image


def _shown(report: Report) -> dict[str, tuple[int, int, int]]:
    """The steps that can be seen, and their colours."""
    names = [name for name in report.step_names() if name != OVERLAP]  # which is in the others already
    seen = [name for name in names if any(_share(runner, name) >= SMALL for runner in report.runners)]
    colours = palette(len(seen) + 1)[1:]  # the first is that of a background
    return {name: (int(r), int(g), int(b)) for name, (r, g, b) in zip(seen, colours, strict=True)}


def _share(runner: RunnerReport, name: str) -> float:
    whole = runner.whole.milliseconds.median
    return runner.steps[name].milliseconds.median / whole if name in runner.steps and whole else 0.0


def _bar(
    draw: ImageDraw.ImageDraw,
    runner: RunnerReport,
    shown: dict[str, tuple[int, int, int]],
    left_top: tuple[int, int],
    scale: float,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    (left, top), end = left_top, 0.0
    whole = runner.whole.milliseconds.median
    draw.rectangle((left, top, left + whole * scale, top + BAR), fill=REST)
    for name, colour in shown.items():
        taken = _share(runner, name) * whole
        if taken:
            draw.rectangle((left + end * scale, top, left + (end + taken) * scale, top + BAR), fill=colour)
        end += taken
    faster = "" if runner.whole.ratio is None else f"  {runner.whole.ratio:.2f}x"
    draw.text(
        (left + whole * scale + 8, top + BAR // 2), f"{plain(whole, 4)} ms{faster}", fill=INK, font=font, anchor="lm"
    )


def _legend_rows(
    shown: dict[str, tuple[int, int, int]], font: ImageFont.ImageFont | ImageFont.FreeTypeFont
) -> list[list[str]]:
    """Names, in rows that fit the width."""
    rows: list[list[str]] = [[]]
    used = 0
    for name in [*shown, "rest"]:
        wide = 30 + int(font.getlength(name))
        if used + wide > WIDTH - 2 * MARGIN:
            rows.append([])
            used = 0
        rows[-1].append(name)
        used += wide
    return rows


def _legend(
    draw: ImageDraw.ImageDraw,
    rows: list[list[str]],
    shown: dict[str, tuple[int, int, int]],
    top: int,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
) -> None:
    for row in rows:
        x = MARGIN
        for name in row:
            draw.rectangle((x, top + 2, x + 12, top + 14), fill=shown.get(name, REST))
            draw.text((x + 18, top + 8), name, fill=INK, font=font, anchor="lm")
            x += 30 + int(font.getlength(name))
        top += 22
