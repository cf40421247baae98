"""`python -m ovdeploy.export.tiny.train`: draw scenes, train the miniature models, write their weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import click
import cv2
import torch
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from safetensors.torch import save_file
from torch import nn

from ...runtime.cli.common import fail_cleanly
from ...runtime.cli.progress import progress_bar
from ...runtime.files import atomic_path
from ...runtime.scenes.names import FIRST_TEST_SEED
from ...runtime.words.tokenizer import ClipTokenizer
from ..models.dense.builds import build_head
from ..models.dense.escnet import begin_with_sam
from ..models.detector.owlv2 import build_behind
from ..models.miniature.networks import CONTEXT, build_clip, build_dino, build_sam
from ..models.promptable.memory.video import build_tiny_video
from ..models.text_assets import write_tokenizer
from ..models.weights import packaged, read_checkpoint
from ..reference.embed import Upstream
from .clip_task import ClipTask
from .curves import draw_curves
from .dataset import SHARD, Scenes, draw_shards
from .dense_task import DenseTask
from .detector_task import MODEL as OWLV2
from .detector_task import DetectorTask
from .device import choose_device, compute_repeatably, device_of
from .dino_task import DinoTask
from .loop import Budget, Cycle, Task, train
from .sam_task import SamTask
from .video_task import VideoTask
from .video_task import begin_with_sam as begin_video_with_sam

CATSEG, ESCNET = "tiny_catseg", "tiny_escnet"

BUILDERS: dict[str, Callable[[], nn.Module]] = {
    "clip": build_clip,
    "dino": build_dino,
    "sam": build_sam,
    "dense": partial(build_head, CATSEG),
    "escnet": partial(build_head, ESCNET),
    "detector": partial(build_behind, OWLV2),
    "sam2": build_tiny_video,
}
"""By file. Of CAT-Seg, ESC-Net and OWLv2 the heads are trained, on the folder's CLIP, or else the package's. SAM 2
draws its own clips."""

BUDGETS = {
    "clip": Budget((Cycle(2200),), 1.2e-3),
    "dino": Budget((Cycle(640),), 1e-3),
    "sam": Budget((Cycle(2000), Cycle(2800, stable=0.36), Cycle(1200, stable=0.0, peak=0.5)), 1.5e-3),
    "dense": Budget((Cycle(700),), 2e-3),
    "escnet": Budget((Cycle(350),), 2e-3),
    "detector": Budget((Cycle(300),), 2e-3),
    "sam2": Budget((Cycle(900),), 1.5e-3),
}
SCENES = 8000


def _clip_task(model: Upstream, scenes: Scenes, out: Path) -> Task:
    write_tokenizer(out / "tokenizer.json", model.vocab_size)
    return ClipTask(model, scenes, ClipTokenizer(out / "tokenizer.json", CONTEXT))


def _made_before(name: str, out: Path) -> dict[str, torch.Tensor]:
    """Weights that lie in the folder, or else the package's."""
    own = out / f"{name}.safetensors"
    weights = read_checkpoint(own if own.exists() else packaged(name))
    return {name: value.float() for name, value in weights.items()}


def _dense_task(name: str, model: Upstream, scenes: Scenes, out: Path) -> Task:
    clip: Upstream = build_clip()
    clip.load_state_dict(_made_before("clip", out))
    write_tokenizer(out / "tokenizer.json", clip.vocab_size)
    return DenseTask(name, model, clip.to(device_of(model)), scenes, ClipTokenizer(out / "tokenizer.json", CONTEXT))


def _detector_task(model: Upstream, scenes: Scenes, out: Path) -> Task:
    clip: Upstream = build_clip()
    clip.load_state_dict(_made_before("clip", out))
    write_tokenizer(out / "tokenizer.json", clip.vocab_size)
    return DetectorTask(model, clip.to(device_of(model)), scenes, ClipTokenizer(out / "tokenizer.json", CONTEXT))


def _escnet_task(model: Upstream, scenes: Scenes, out: Path) -> Task:
    begin_with_sam(model.transformer, _made_before("sam", out))
    return _dense_task(ESCNET, model, scenes, out)


def _video_task(model: Upstream, scenes: Scenes, out: Path) -> Task:
    begin_video_with_sam(model, read_checkpoint(packaged("sam")))  # the folder's is made beside this one
    return VideoTask(model)


TASKS: dict[str, Callable[[Upstream, Scenes, Path], Task]] = {
    "clip": _clip_task,
    "dino": lambda model, scenes, out: DinoTask(model, scenes),
    "sam": lambda model, scenes, out: SamTask(model, scenes),
    "dense": partial(_dense_task, CATSEG),
    "escnet": _escnet_task,
    "detector": _detector_task,
    "sam2": _video_task,
}


SIDE_BY_SIDE = (("sam", "escnet"), ("clip", "dino", "dense", "detector", "sam2"))
"""Models that processes train at the same time on a CPU, one after another in each: a second core is not worth as much
to one model as to another."""


class Run(NamedTuple):
    """A run, as the command was asked for it."""

    out: Path
    seed: int
    cycles: tuple[Cycle, ...] | None
    """Instead of the model's own."""
    rate: float | None
    """Likewise."""
    stop: int | None
    drawn: int
    """How many scenes."""
    shard: int
    """Scenes of a file."""
    threads: int
    device: str


def _known_device(context: click.Context, option: click.Parameter, name: str) -> str:
    if name == "cuda" and not torch.cuda.is_available():
        raise click.BadParameter("PyTorch finds no GPU here; give --device cpu")
    return name


@click.command()
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("tiny-training"),
    show_default=True,
    help="Folder for scenes, checkpoints, curves and weights. A run that was stopped goes on from what is there.",
)
@click.option("--model", "role", type=click.Choice([*BUILDERS, "all"]), default="all", show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of weights and batches.")
@click.option("--steps", type=click.IntRange(1), help="Of a single cycle, instead of the model's own.")
@click.option("--rate", type=click.FloatRange(0, min_open=True), help="Instead of the model's own learning rate.")
@click.option("--stop", type=click.IntRange(1), help="Leave after this step; the same call without it goes on.")
@click.option(
    "--scenes",
    "count",
    type=click.IntRange(1, FIRST_TEST_SEED),
    default=SCENES,
    show_default=True,
    help="Training scenes, drawn before the first step.",
)
@click.option("--threads", type=click.IntRange(1), default=os.cpu_count() or 1, show_default=True)
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    callback=_known_device,
    help="auto takes a GPU if there is one. (Training has not run on one yet.)",
)
@fail_cleanly
def main(out: Path, role: str, seed: int, steps: int | None, rate: float | None, stop: int | None, count: int,
         threads: int, device: str) -> None:  # fmt: skip
    """Train the miniature models that come with the package.

    Draws its own scenes, trains CLIP, the extractor, SAM, the heads of CAT-Seg and ESC-Net, the detector and SAM 2, and
    writes their weights in half precision, clip.safetensors and so on, with a curve of the losses for each. Without a
    GPU it takes about five hours on two cores, added up from its parts.
    On a CPU the same seed, steps and threads give the same weights.
    """
    _draw(out / "scenes", count, threads, Console(stderr=True))
    run = Run(out, seed, (Cycle(steps),) if steps else None, rate, stop, count, SHARD, threads, device)
    if role == "all" and threads > 1 and choose_device(device).type == "cpu":
        _train_side_by_side(run)
    else:
        _train(run, BUILDERS if role == "all" else (role,), live=True)


def _train_side_by_side(run: Run) -> None:
    """Train all models in processes. What fails is told at once, and raised when the others have ended."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # else threads of one process wait on cores the other needs
    errors = []
    with ProcessPoolExecutor(len(SIDE_BY_SIDE), mp_context=get_context("spawn")) as pool:
        roles = {pool.submit(_train, run, each, live=False): " and ".join(each) for each in SIDE_BY_SIDE}
        for done in as_completed(roles):
            if error := done.exception():
                click.echo(f"failed, while others go on: {roles[done]}: {error}", err=True)
                errors.append(error)
    if errors:
        raise errors[0]


def _train(run: Run, roles: Iterable[str], *, live: bool) -> None:
    """Train models one after another and write their weights. Bars would overwrite those of a process beside it."""
    torch.set_num_threads(run.threads)
    cv2.setNumThreads(1)
    device, console = choose_device(run.device), Console(stderr=True, force_terminal=None if live else False)
    compute_repeatably(device)
    scenes = Scenes(run.out / "scenes", run.drawn, run.shard)
    for name in roles:
        own = BUDGETS[name]
        budget = Budget(run.cycles or own.cycles, run.rate or own.rate, run.seed, run.stop)
        torch.manual_seed(run.seed)
        model = BUILDERS[name]().to(device)
        history = _follow(name, model, TASKS[name](model, scenes, run.out), budget, run.out, console)
        draw_curves(history, run.out / f"{name}.png")
        write_weights(model, run.out / f"{name}.safetensors")


def write_weights(model: nn.Module, path: Path) -> None:
    """Write a model's weights in half precision."""
    state = {name: value.half().contiguous().cpu() for name, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(state, str(temporary))


def _draw(folder: Path, count: int, workers: int, console: Console) -> None:
    with _progress(console) as progress:
        bar = progress.add_task("drawing scenes", total=count, told="")
        for drawn in draw_shards(folder, count, workers, SHARD):
            progress.advance(bar, drawn)


def _follow(
    name: str, model: nn.Module, task: Task, budget: Budget, out: Path, console: Console
) -> dict[str, list[float]]:
    with _progress(console) as progress:
        bar = progress.add_task(f"training {name}", total=budget.steps, told="")

        def report(step: int, losses: dict[str, float]) -> None:
            told = "  ".join(f"{key} {value:.3f}" for key, value in losses.items())
            progress.update(bar, completed=step, told=told)
            if step % 50 == 0 and not console.is_terminal:
                console.print(f"{name} {step}/{budget.steps}  {told}", highlight=False, soft_wrap=True)

        return train(model, task, budget, out / f"{name}.ckpt", report)


def _progress(console: Console) -> Progress:
    following = (MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[told]}"))
    return progress_bar(console, *following, quiet=not console.is_terminal)


if __name__ == "__main__":
    main()
