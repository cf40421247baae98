"""One training run: steps, checkpoints, curves. What a step does depends on its number and the seed alone.

The learning rate rises, stays and falls to nothing, in one cycle or several ("SGDR: Stochastic Gradient Descent with
Warm Restarts", Loshchilov and Hutter, 2017). A cycle begins with the weights of the one before and an optimizer that
remembers nothing of it; so a run that has ended can be given another.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from ...runtime.errors import WeightsError
from ...runtime.files import atomic_path

WARMUP = 60
"""Steps of a cycle in which the learning rate rises."""
KEEP_EVERY = 100
"""Steps between checkpoints."""
LARGEST_GRADIENT = 1.0

Losses = dict[str, torch.Tensor]
Part = Callable[[], Losses]
"""Gives the losses of a part of a batch."""
History = dict[str, list[float]]
"""By name a value for each step that asked for it."""
Report = Callable[[int, dict[str, float]], None]


class Task(ABC):
    """A task that a model is trained on."""

    beside: nn.Module | None = None
    """A module learned beside the model and left behind."""

    @abstractmethod
    def parts(self, rng: np.random.Generator, step: int) -> list[Part]:
        """The parts of one batch, drawn from `rng`; the mean of their losses' sums is minimised.

        They may be computed at the same time, by threads.
        """


class Cycle(NamedTuple):
    """One rise and fall of the learning rate."""

    steps: int
    stable: float = 0.65
    """Share of the steps after which it falls, evenly, to 0."""
    peak: float = 1.0
    """Share of the largest rate that it rises to."""


class Budget(NamedTuple):
    """How long and how fast."""

    cycles: tuple[Cycle, ...]
    rate: float
    """Largest learning rate."""
    seed: int = 0
    stop: int | None = None
    """Leave after this step, for another call to go on."""

    @property
    def steps(self) -> int:
        """Of all cycles."""
        return sum(cycle.steps for cycle in self.cycles)

    @property
    def starts(self) -> tuple[int, ...]:
        """The first step of each cycle."""
        return (0, *accumulate(cycle.steps for cycle in self.cycles[:-1]))


def train(model: nn.Module, task: Task, budget: Budget, checkpoint: Path, report: Report) -> History:
    """Train a model, from its checkpoint if there is one.

    Args:
        model: changed in place.
        task: gives the losses.
        budget: a checkpoint of another budget is refused, but for one with fewer cycles.
        checkpoint: read at the start, written every KEEP_EVERY steps and at the end.
        report: is told the losses of each step.

    Returns:
        The losses by name.

    Raises:
        WeightsError: the checkpoint belongs to another budget.
    """
    learned = nn.ModuleDict({"model": model, **({} if task.beside is None else {"beside": task.beside})})
    learned.train().requires_grad_(True)
    parameters = list(learned.parameters())
    optimizer = _optimizer(learned, budget)
    step, history = _resume(learned, optimizer, budget, checkpoint)
    last, threads = min(budget.steps, budget.stop or budget.steps), torch.get_num_threads()
    with ThreadPoolExecutor(threads, initializer=lambda: torch.set_num_threads(1)) as pool:
        while step < last:
            if step in budget.starts:
                optimizer = _optimizer(learned, budget)
            for group in optimizer.param_groups:
                group["lr"] = budget.rate * rate_share(step, budget)
            told = _set_gradients(parameters, task.parts(np.random.default_rng([budget.seed, step]), step), pool)
            nn.utils.clip_grad_norm_(parameters, LARGEST_GRADIENT)
            optimizer.step()
            step += 1
            for name, value in told.items():
                history.setdefault(name, []).append(value)
            report(step, told)
            if step % KEEP_EVERY == 0 or step == last:
                _keep(learned, optimizer, budget, step, history, checkpoint)
    torch.set_num_threads(threads)  # the pool's threads have set theirs for some libraries of the process
    learned.eval().requires_grad_(False)
    return history


def _set_gradients(parameters: list[nn.Parameter], parts: list[Part], pool: ThreadPoolExecutor) -> dict[str, float]:
    """Set the parameters' gradients to the mean over the parts; returns the mean of each loss."""

    def one(part: Part) -> tuple[Losses, tuple[torch.Tensor | None, ...]]:
        losses = part()
        gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), parameters, allow_unused=True)
        return {name: loss.detach() for name, loss in losses.items()}, gradients

    results = [one(parts[0])] if len(parts) == 1 else list(pool.map(one, parts))
    for parameter, *gradients in zip(parameters, *(gradients for _, gradients in results), strict=True):
        used = [gradient for gradient in gradients if gradient is not None]
        parameter.grad = torch.stack(used).sum(0) / len(parts) if used else None
    return {name: sum(float(losses[name]) for losses, _ in results) / len(parts) for name in results[0][0]}


def _optimizer(learned: nn.Module, budget: Budget) -> torch.optim.Optimizer:
    return torch.optim.AdamW(_groups(learned), lr=budget.rate, betas=(0.9, 0.98))


def _groups(model: nn.Module) -> list[dict[str, Any]]:
    """Matrices decay, vectors (norms, biases, single embeddings) do not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2]
    return [{"params": matrices, "weight_decay": 0.05}, {"params": vectors, "weight_decay": 0.0}]


def rate_share(step: int, budget: Budget) -> float:
    """The learning rate's share of its largest value."""
    begun = [(start, cycle) for start, cycle in zip(budget.starts, budget.cycles, strict=True) if start <= step]
    start, (steps, stable, peak) = begun[-1]
    done = step - start
    return peak * min(1.0, (done + 1) / WARMUP) * min(1.0, (1 - done / steps) / (1 - stable))


def _resume(
    learned: nn.ModuleDict, optimizer: torch.optim.Optimizer, budget: Budget, checkpoint: Path
) -> tuple[int, History]:
    """Take the checkpoint if this budget would have come by it: (step, losses)."""
    if not checkpoint.exists():
        return 0, {}
    kept = torch.load(checkpoint, map_location="cpu", weights_only=True)
    step, theirs, ours = kept["step"], kept["budget"], _told(budget)
    cycles = tuple(Cycle(*each) for each in theirs["cycles"])
    theirs = {**theirs, "cycles": [list(cycle) for cycle in cycles]}  # one without a peak is of an older run
    begun = sum(start < step for start in Budget(cycles, budget.rate).starts)
    if {**theirs, "cycles": theirs["cycles"][:begun]} != {**ours, "cycles": ours["cycles"][:begun]}:
        raise WeightsError(
            f"{checkpoint} is at step {step} of a run with {theirs}; it cannot go on as one with {ours}. "
            f"Remove it, or choose another --out."
        )
    for name, state in kept["learned"].items():
        learned[name].load_state_dict(state)
    if step not in budget.starts:
        optimizer.load_state_dict(kept["optimizer"])
    return step, kept["history"]


def _told(budget: Budget) -> dict[str, Any]:
    return {"cycles": [list(cycle) for cycle in budget.cycles], "rate": budget.rate, "seed": budget.seed}


def _keep(
    learned: nn.ModuleDict,
    optimizer: torch.optim.Optimizer,
    budget: Budget,
    step: int,
    history: History,
    checkpoint: Path,
) -> None:
    kept = {
        "budget": _told(budget),
        "step": step,
        "learned": {name: module.state_dict() for name, module in learned.items()},
        "optimizer": optimizer.state_dict(),
        "history": history,
    }
    with atomic_path(checkpoint) as temporary:
        torch.save(kept, temporary)
