"""Tables for the coarse mask, by a photo's size: how the logits' grid is enlarged to it, and how it is halved."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from .bands import Bands
from .sizes import HW, bilinear_taps, half_size


@dataclass(frozen=True, eq=False)
class PhotoTables:
    """From the logits' grid to the photo, and from the photo to half its size."""

    photo_hw: HW
    half_hw: HW
    rows: Bands
    """From rows of the logits to rows of the photo."""
    columns: Bands
    """Likewise."""
    half_rows: tuple[np.ndarray, np.ndarray, np.ndarray]
    """[dh] int, [dh] int, [dh] float32: the two rows of the photo that a halved row takes, and the second one's
    share."""
    half_columns: Bands
    """From columns of the photo to halved columns."""

    @classmethod
    def of(cls, rows: np.ndarray | Bands, columns: np.ndarray | Bands) -> PhotoTables:
        """The tables of a photo.

        Args:
            rows: [H, vh], the map from the logits' rows to the photo's.
            columns: [W, vw], likewise.
        """
        rows, columns = (table if isinstance(table, Bands) else Bands.of(table) for table in (rows, columns))
        height, width = rows.shape[0], columns.shape[0]
        half_hw = half_size((height, width))
        upper, lower, share = bilinear_taps(height, half_hw[0])
        return cls(
            photo_hw=(height, width),
            half_hw=half_hw,
            rows=rows,
            columns=columns,
            half_rows=(upper, lower, share.astype(np.float32)),
            half_columns=Bands.bilinear(width, half_hw[1]),
        )

    def tiles(self, row_bytes: int, tile_bytes: int) -> list[tuple[slice, slice]]:
        """Cut the photo into tiles: halved rows, and the photo's rows. A halved row's two are in its tile.

        Args:
            row_bytes: what a row of the photo takes.
            tile_bytes: what a tile may take, unless one halved row takes more.
        """
        height, lines = self.photo_hw[0], self.half_hw[0]
        cuts = np.append(self.half_rows[0], height)  # a side is more than twice its half, so pairs do not overlap
        cuts[0] = 0
        step = max(1, tile_bytes // (2 * row_bytes))
        edges = [*range(0, lines, step), lines]
        return [(slice(a, b), slice(int(cuts[a]), int(cuts[b]))) for a, b in pairwise(edges)]
