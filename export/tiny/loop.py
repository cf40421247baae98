"""One training run: steps, checkpoints, curves. What a step does depends on its number and the seed alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...runtime.errors import WeightsError
from ...runtime.files import atomic_path

WARMUP = 60
"""Steps in which the learning rate rises."""
STABLE = 0.65
"""Share of the steps after which it falls to 0. Until then no step depends on how many there will be; so that step is
kept apart (`steady_of`), and a run that has ended can be made longer from there."""
KEEP_EVERY = 100
"""Steps between checkpoints."""
LARGEST_GRADIENT = 1.0

History = dict[str, list[float]]
Report = Callable[[int, dict[str, float]], None]


class Task(ABC):
    """What a model is trained on."""

    @abstractmethod
    def losses(self, rng: np.random.Generator, step: int) -> dict[str, torch.Tensor]:
        """The losses of one batch, drawn from `rng`; their sum is minimised."""


class Budget(NamedTuple):
    """How long and how fast."""

    steps: int
    rate: float
    """Largest learning rate."""
    seed: int = 0
    stop: int | None = None
    """Leave after this step, for another call to go on."""


def train(model: nn.Module, task: Task, budget: Budget, checkpoint: Path, report: Report) -> History:
    """Train a model, from its checkpoint if there is one.

    Args:
        model: changed in place.
        task: gives the losses.
        budget: a checkpoint of another budget is refused.
        checkpoint: read at the start, written every KEEP_EVERY steps and at the end. `steady_of` it is written too.
        report: is told the losses of each step.

    Returns:
        The losses by name, one value a step.

    Raises:
        WeightsError: the checkpoint belongs to another budget.
    """
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(_groups(model), lr=budget.rate, betas=(0.9, 0.98))
    step, history = _resume(model, optimizer, budget, checkpoint)
    last = min(budget.steps, budget.stop or budget.steps)
    while step < last:
        for group in optimizer.param_groups:
            group["lr"] = budget.rate * _share(step, budget.steps)
        losses = task.losses(np.random.default_rng([budget.seed, step]), step)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), LARGEST_GRADIENT)
        optimizer.step()
        step += 1
        told = {name: float(loss.detach()) for name, loss in losses.items()}
        for name, value in told.items():
            history.setdefault(name, []).append(value)
        report(step, told)
        if step % KEEP_EVERY == 0 or step == last:
            _keep(model, optimizer, budget, step, history, checkpoint)
        if step == int(STABLE * budget.steps):
            _keep(model, optimizer, budget, step, history, steady_of(checkpoint))
    model.eval().requires_grad_(False)
    return history


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices decay, vectors (norms, biases, single embeddings) do not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]


def _share(step: int, steps: int) -> float:
    """The learning rate's share of its largest value."""
    left = (1 - step / steps) / (1 - STABLE)
    return min(1.0, (step + 1) / WARMUP) * min(1.0, left)


def steady_of(checkpoint: Path) -> Path:
    """Where the last step before the learning rate falls is kept."""
    return checkpoint.with_name(f"{checkpoint.stem}.steady{checkpoint.suffix}")


def _resume(
    model: nn.Module, optimizer: torch.optim.Optimizer, budget: Budget, checkpoint: Path
) -> tuple[int, History]:
    """Take the first checkpoint that this budget would have come by: (step, losses)."""
    ours = {"steps": budget.steps, "rate": budget.rate, "seed": budget.seed}
    refused = ""
    for path in (path for path in (checkpoint, steady_of(checkpoint)) if path.exists()):
        kept = torch.load(path, map_location="cpu", weights_only=True)
        theirs = kept["budget"]
        longest = STABLE * min(theirs["steps"], budget.steps)
        if theirs == ours or ({**theirs, "steps": budget.steps} == ours and kept["step"] <= longest):
            model.load_state_dict(kept["model"])
            optimizer.load_state_dict(kept["optimizer"])
            return kept["step"], kept["history"]
        refused = refused or f"{path} is at step {kept['step']} of a run with {theirs}"
    if refused:
        raise WeightsError(f"{refused}; it cannot go on as one with {ours}. Remove it, or choose another --out.")
    return 0, {}


def _keep(
    model: nn.Module, optimizer: torch.optim.Optimizer, budget: Budget, step: int, history: History, checkpoint: Path
) -> None:
    kept = {
        "budget": {"steps": budget.steps, "rate": budget.rate, "seed": budget.seed},
        "step": step,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
    }
    with atomic_path(checkpoint) as temporary:
        torch.save(kept, temporary)
