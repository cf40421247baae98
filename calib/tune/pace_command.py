"""`ovdeploy tune` where it fits the pace: what it runs, writes and prints."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import MofNCompleteColumn, TimeElapsedColumn, TimeRemainingColumn

from ...runtime.cli.progress import progress_bar
from ...runtime.recipe.parameters_file import save_parameters

if TYPE_CHECKING:
    from ...runtime.datasets import Dataset
    from ...runtime.pipelines.base import Segmenter
    from .goal import Goal


def fit_pace(
    segmenter: Segmenter,
    dataset: Dataset,
    goal: Goal,
    *,
    bundle: Path,
    output: Path,
    overrides: Mapping[str, Any],
    templates: tuple[str, ...] | None,
    threads: int | None,
    share: float,
    trials: int,
    as_json: bool,
) -> None:
    """Find the settings that serve a goal, write the overlay, and tell.

    Raises:
        DatasetError: no photo can be used.
        ParameterError: nothing serves the goal.
    """
    from ...runtime.evaluation.predictors import Words
    from .pacing import comments, describe, find_pace, table, verdict, warnings

    recipe = segmenter.manifest.recipe
    words = Words(dataset, lambda entries: segmenter.vocabulary(entries, templates=templates).embeddings, recipe)
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with progress_bar(Console(stderr=True), MofNCompleteColumn(), *times, quiet=as_json) as progress:
        pace = find_pace(segmenter, dataset, words, goal, progress, share=share, trials=trials)
    name = os.path.basename(os.path.abspath(bundle))
    runner = f"{segmenter.backend}, {segmenter.precision}, {f'{threads} threads' if threads else 'all cores'}"
    save_parameters(output, {**overrides, **pace.chosen.values}, comments(pace, name, dataset.title, runner))
    if as_json:
        told = {"bundle": name, "dataset": dataset.title, "runner": runner, "overlay": str(output)}
        click.echo(msgspec.json.encode({**told, **describe(pace)}).decode())
    else:
        console = Console()
        console.print(table(pace))
        console.print(verdict(pace), highlight=False, soft_wrap=True)
        console.print(
            f"{len(pace.tried)} settings were tried; the overlay is {output}", highlight=False, soft_wrap=True
        )
    for warning in warnings(pace):
        click.echo(f"warning: {warning}", err=True)
