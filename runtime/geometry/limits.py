"""Limits on what comes from outside, in one place, each with its reason.

What a single number may be stands in its type, which is made of these. What follows from several is counted before it
is allocated, with Python's integers, which do not overflow: `refuse_more`.
"""

from __future__ import annotations

from typing import NamedTuple

from ..errors import OvdeployError, PhotoError, shown


class Limit(NamedTuple):
    """The most of something."""

    most: int
    of: str
    """What is counted."""
    why: str


Range = tuple[int, int, int]
"""The smallest, the usual and the largest size of an axis. Kernels are chosen for the usual one."""

LONGEST_SIDE = 65_535
"""Of a photo, in pixels: tables grow with a photo's sides, not its area (and it is JPEG's own limit)."""

SHORT_SIDE, WINDOW = 8_192, 4_096
"""Sides that a photo's short side is resized to, and that a window has: eight times what any published setting is."""

BATCH = 1_000_000
"""Windows, regions or prompts in one call of an engine, at most: more than there can be. What there is is counted."""

BLOCKS = 1_000
"""Of a transformer: the deepest that is known here has 48."""

AXIS, AXES = 1 << 24, 8
"""Sizes of an axis, and axes of an array, in a contract: SAM's largest axis has 4,096, its deepest array 5 axes."""

GRID, MODEL_SIDE, EMBEDDING, CONTEXT = 512, 8_192, 65_536, 4_096
"""Sizes of models: tokens along a side, pixels of a side, length of an embedding, tokens of a text. Each is eight times
that of the largest model that is known here, at least."""

CLASSES = 65_535
"""Class indices are 16-bit numbers, as PNG has them, and the largest stands for pixels that do not count."""

DATASET_CLASSES = 4_096
"""The confusion of so many classes takes 134 MB; the largest benchmark with a name for every pixel has 3,688."""

PHOTOS = 1_000_000
"""Photos of one run: what is kept of each fits into memory."""

LISTED = 20_000_000
"""Photos that `segment` may be given: of each only the name is kept."""

CLIP_FRAMES = 1_000
"""Frames of a drawn clip, which is kept whole: so many of the usual size take 300 MB."""

FRAMES = 10_000_000
"""Frames of a video: a day and a half at 60 a second. They are read one after another."""

SEEDS = (1 << 31) - 1
"""The number of a drawn scene."""

REPEATS = 1_000_000
"""Rounds, trials and runs of one measurement."""

DEVICES = 255
"""The number of a GPU."""

LARGEST = 1e9
"""Of factors and thresholds: it keeps infinity out."""

FLOAT = 3.5e38
"""Of a figure that was measured: what 32-bit floats hold, which keeps infinity out."""

RESIZED = Limit(1 << 25, "pixels", "a photo is resized in 32-bit floats, of which so many take 400 MB")
WINDOWS = Limit(4_096, "windows", "a hundred times those of published settings")
REGIONS = Limit(16_384, "regions", "SAM's decoder answers each")
INSTANCES = Limit(1 << 18, "instances", "each takes about a kilobyte")
ARRAY = Limit(2_000_000_000, "bytes", "of one array")
TABLE = Limit(1 << 25, "numbers", "of a table from one axis to another, in 64-bit floats; so many take 268 MB")

PASSED = Limit(1 << 27, "numbers", "of a table that is made piece by piece; so many take a second")


def refuse_more(count: int, limit: Limit, what: str, remedy: str, error: type[OvdeployError] = PhotoError) -> None:
    """Refuse a count above a limit.

    Args:
        count: an integer of Python's.
        limit: of that count.
        what: the subject of the sentence.
        remedy: a sentence about what to change, a parameter's name for example.
        error: what is raised. A `PhotoError` is of one photo, and the next may be fine.

    Raises:
        OvdeployError: of that type.
    """
    if count > limit.most:
        told = f"{what} would be {shown(count)} {limit.of}, the limit is {limit.most:,} ({limit.why})"
        raise error(f"{told}. {remedy}")
