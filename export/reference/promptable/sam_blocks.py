"""SAM's image encoder block by block: upstream's weights, wired so that engines run it well and in little memory.

Upstream keeps tokens on their grid, [1, h, w, D]. Engines take four axes for an image's and turn channels back and
forth, and do not recognise the norms; so tokens are a sequence here, [1, N, D]. Where attention is global, its scores
[heads, N, N] would take 805 MB at SAM's usual size, several of them at once: queries go in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from segment_anything.modeling.image_encoder import get_rel_pos

from ..embed import Upstream

Grid = tuple[int, int]

CHUNK = 512
"""Queries that attend together where attention is global."""


class Heads(NamedTuple):
    """Inputs of an attention, one grid of tokens after another, head by head within them."""

    queries: torch.Tensor
    """[B · heads, N, d], scaled."""
    keys: torch.Tensor
    """[B · heads, N, d]."""
    values: torch.Tensor
    """[B · heads, N, d]."""
    rows: torch.Tensor
    """[B · heads, N, h]: what is added to a query's scores with the keys of a row; empty without such positions."""
    columns: torch.Tensor
    """[B · heads, N, w], likewise of a column."""

    def scores(self, part: slice) -> torch.Tensor:
        """The scores of some queries with all keys: [B · heads, n, N]."""
        products = self.queries[:, part] @ self.keys.transpose(1, 2)
        if not self.rows.numel():
            return products
        positions = self.rows[:, part, :, None] + self.columns[:, part, None, :]
        return products + positions.flatten(2)

    def parts(self) -> Iterator[slice]:
        """The queries, chunk by chunk."""
        count = self.queries.shape[1]
        return (slice(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK))


def embed(encoder: Upstream, image: torch.Tensor) -> torch.Tensor:
    """A normalised image [1, 3, S, S] to tokens [1, N, D] with their positions."""
    tokens = encoder.patch_embed(image).flatten(1, 2)
    return tokens if encoder.pos_embed is None else tokens + encoder.pos_embed.flatten(1, 2)


def run_block(block: Upstream, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
    """One block: [1, N, D] → the same."""
    normed = block.norm1(tokens)
    attend = _attend_in_windows if block.window_size else _attend_globally
    return finish_block(block, tokens, attend(block, normed, grid))


def finish_block(block: Upstream, tokens: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
    """The steps after the attention: its projection, the residuals, the MLP. [1, N, D] each."""
    tokens = tokens + block.attn.proj(attended)
    return tokens + block.mlp(block.norm2(tokens))


def neck(encoder: Upstream, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
    """Tokens [1, N, D] to SAM's features [1, 256, h, w]."""
    return encoder.neck(tokens.transpose(1, 2).unflatten(2, grid))


def split_heads(attention: Upstream, tokens: torch.Tensor, grid: Grid) -> Heads:
    """Normalised tokens [B, h · w, D] to what the attention works on."""
    return split_projected(attention, attention.qkv(tokens), grid)


def split_projected(attention: Upstream, projected: torch.Tensor, grid: Grid) -> Heads:
    """Queries, keys and values of tokens, [B, h · w, 3 · D], to what the attention works on."""
    heads = projected.unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4).flatten(1, 2)
    queries, keys, values = heads.unbind(0)
    rows = columns = queries.new_zeros(0)
    if attention.use_rel_pos:
        placed = queries.unflatten(1, grid)
        tables = (attention.rel_pos_h, attention.rel_pos_w)
        row_table, column_table = (get_rel_pos(n, n, table) for n, table in zip(grid, tables, strict=True))
        rows = torch.einsum("bhwc,hkc->bhwk", placed, row_table).flatten(1, 2)
        columns = torch.einsum("bhwc,wkc->bhwk", placed, column_table).flatten(1, 2)
    return Heads(queries * attention.scale, keys, values, rows, columns)


def join_heads(attended: torch.Tensor, count: int) -> torch.Tensor:
    """[B · heads, N, d] → [B, N, D]."""
    return attended.unflatten(0, (-1, count)).transpose(1, 2).flatten(2)


def _attend_globally(block: Upstream, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
    """[1, N, D] → the same, before the projection."""
    heads = split_heads(block.attn, tokens, grid)
    attended = [heads.scores(part).softmax(dim=-1) @ heads.values for part in heads.parts()]
    return join_heads(torch.cat(attended, dim=1), block.attn.num_heads)


def _attend_in_windows(block: Upstream, tokens: torch.Tensor, grid: Grid) -> torch.Tensor:
    """As `_attend_globally`, within windows; those at the right and below reach over the grid, where tokens are 0.

    Rows are gathered, which is one copy; upstream pads, splits and turns the grid there and back. They are gathered
    behind the projection, where a token of 0 is the bias: a fifth of the rows would be padding before it.
    """
    attention = block.attn
    side: int = block.window_size
    there, back = (order.to(tokens.device) for order in window_order(grid, side))
    projected = attention.qkv(tokens)[0]
    zero = projected.new_zeros(1, projected.shape[1]) if attention.qkv.bias is None else attention.qkv.bias[None]
    windows = torch.cat([projected, zero]).index_select(0, there).unflatten(0, (-1, side * side))
    heads = split_projected(attention, windows, (side, side))  # of [windows, side², 3 · D]
    attended = join_heads(heads.scores(slice(None)).softmax(dim=-1) @ heads.values, attention.num_heads)
    return attended.flatten(0, 1).index_select(0, back)[None]


def window_order(grid: Grid, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where the tokens of windows come from, and where the grid's tokens lie in the windows.

    Returns:
        [windows · side²] indices of tokens, h · w where a window reaches over the grid; and [h · w] indices into those.
    """
    h, w = grid
    rows, columns = (-(-n // side) for n in grid)
    places = torch.full((rows * side, columns * side), h * w)
    places[:h, :w] = torch.arange(h * w).view(h, w)
    there = places.view(rows, side, columns, side).transpose(1, 2).flatten()
    return there, there.argsort()[: h * w]
