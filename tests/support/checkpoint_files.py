"""Files as people have them, made from seeds: what `checkpoint_layouts` is put together from."""

from __future__ import annotations

import argparse
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save, save_file
from torch import nn

from support.checkpoints import small_model
from support.namings import frozen, state_of

State = dict[str, torch.Tensor]


@cache
def _own(name: str) -> State:
    model = small_model(name)
    kept = {key: value for key, value in model.state_dict().items() if not value.ndim}
    return {**state_of({key: value.shape for key, value in model.state_dict().items()}), **kept}


def own(name: str) -> Callable[[], State]:
    return lambda: dict(_own(name))


def theirs(name: str) -> Callable[[], State]:
    return lambda: state_of(frozen(name)["tensors"])


def torch_file(name: str, wrap: Callable[[State], Any] = dict, **options: Any) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        torch.save(wrap(state), folder / name, **options)
        return folder / name

    return write


def safe_file(name: str, change: Callable[[State], State] = dict) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in change(state).items()}, folder / name)
        return folder / name

    return write


def in_folder(name: str, *others: str) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        safe_file(f"model/{name}")(state, folder)
        for other in others:
            (folder / "model" / other).write_text("{}")
        return folder / "model"

    return write


def content(name: str, data: bytes) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return write


def prefixed(prefix: str, **beside: Any) -> Callable[[State], State]:
    return lambda state: {**{f"{prefix}{key}": value for key, value in state.items()}, **beside}


def renamed(**names: str) -> Callable[[State], State]:
    return lambda state: {names.get(key, key): value for key, value in state.items()}


def cast(dtype: torch.dtype) -> Callable[[State], State]:
    return lambda state: {key: value.to(dtype) if value.is_floating_point() else value for key, value in state.items()}


def other(state: State) -> State:
    """Weights that must not be taken."""
    return {key: value + 1 if value.is_floating_point() else value for key, value in state.items()}


class Hyperparameters(dict):
    """A class of a training script."""


def optimizer() -> dict[str, Any]:
    return {"state": {0: {"step": 3, "exp_avg": torch.ones(4)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]}


# CLIP


class Traced(nn.Module):
    """CLIP as OpenAI traced it: sizes beside the weights."""

    def __init__(self, clip: nn.Module) -> None:
        super().__init__()
        for name, part in clip.named_children():
            self.add_module(name, part)
        for name, value in clip.named_parameters(recurse=False):
            self.register_parameter(name, value)
        for name in ("input_resolution", "context_length", "vocab_size"):
            self.register_buffer(name, torch.tensor(77))
        self.encode = [clip]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.visual(image) * self.logit_scale + self.text_projection.sum() + self.positional_embedding.sum()


def openai_archive(state: State, folder: Path) -> Path:
    clip = small_model("clip")
    clip.load_state_dict(cast(torch.float16)(state))
    traced = torch.jit.trace(Traced(clip.eval()), torch.zeros(1, 3, 96, 96), check_trace=False)
    traced.half().save(str(folder / "ViT-B-16.pt"))
    return folder / "ViT-B-16.pt"


def with_sizes(state: State) -> State:
    return {**state, **{key: torch.tensor(77) for key in ("input_resolution", "context_length", "vocab_size")}}


def custom_text(state: State) -> State:
    text = ("positional_embedding", "text_projection", "token_embedding", "transformer", "ln_final")
    return {f"text.{key}" if key.startswith(text) else key: value for key, value in state.items()}


def in_cache(state: State, folder: Path) -> Path:
    safe_file("models--openai--clip/snapshots/57c216476eefef5ab752ec549e440a49ae4ae5f3/model.safetensors")(
        state, folder
    )
    return folder / "models--openai--clip"


def shards(state: State, folder: Path) -> Path:
    names = sorted(state)
    halves = {f"model-0000{k}-of-00002.safetensors": names[k - 1 :: 2] for k in (1, 2)}
    for file, part in halves.items():
        safe_file(file)({name: state[name] for name in part}, folder)
    index = folder / "model.safetensors.index.json"
    index.write_text(
        json.dumps({"metadata": {}, "weight_map": {n: file for file, part in halves.items() for n in part}})
    )
    return index


def one_shard(state: State, folder: Path) -> Path:
    return shards(state, folder).parent / "model-00001-of-00002.safetensors"


def lost_shard(state: State, folder: Path) -> Path:
    index = shards(state, folder)
    (folder / "model-00002-of-00002.safetensors").unlink()
    return index


def lightning(state: State, folder: Path) -> Path:
    content = {"state_dict": prefixed("model.")(state), "hyper_parameters": Hyperparameters(lr=1e-3), "epoch": 3}
    return torch_file("last.ckpt", lambda _: {**content, "callbacks": {"x": Hyperparameters()}})(state, folder)


def grown(name: str, positions: int) -> Callable[[State], State]:
    """With position embeddings for more patches."""

    def change(state: State) -> State:
        shape = [*state[name].shape]
        shape[-2] = positions
        return {**state, name: torch.randn(shape, generator=torch.Generator().manual_seed(0))}

    return change


# DINO


def full_checkpoint(state: State) -> dict[str, Any]:
    head = {"head.mlp.0.weight": torch.ones(4, 64), "head.last_layer.weight_g": torch.ones(4, 1)}
    student = prefixed("module.backbone.")(other(state)) | prefixed("module.")(head)
    teacher = prefixed("backbone.")(state) | head
    run = {"optimizer": optimizer(), "epoch": 100, "args": argparse.Namespace(arch="vit_small", lr=0.1)}
    return {"student": student, "teacher": teacher, **run, "dino_loss": {"center": torch.zeros(1, 4)}}


def meta(state: State, registers: str) -> State:
    """Meta's names of timm's tensors."""
    names = {"reg_token": registers, "gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}
    made = {}
    for key, value in state.items():
        stem, _, last = key.rpartition(".")
        made[".".join([*([stem] if stem else []), names.get(last, last)])] = value
    return {**made, "mask_token": torch.ones(1, 64)}


def meta_registers(state: State) -> State:
    first = torch.full((1, 1, 64), 0.25)
    made = meta(state, "register_tokens")
    return {**made, "cls_token": state["cls_token"] - first, "pos_embed": torch.cat([first, state["pos_embed"]], 1)}


def meta_dinov3(state: State) -> State:
    biases = {f"blocks.{k}.attn.qkv.bias": torch.zeros(192) for k in range(2)}
    return {**meta(state, "storage_tokens"), **biases, "rope_embed.periods": torch.ones(16)}


def teacher(state: State) -> dict[str, Any]:
    heads = {"dino_head.mlp.0.weight": torch.ones(4, 64), "ibot_head.mlp.0.weight": torch.ones(4, 64)}
    return {"teacher": prefixed("backbone.")(meta(state, "")) | heads}


def chunks(state: State) -> State:
    made = meta(state, "")
    return {key.replace("blocks.", "blocks.0.").replace("blocks.0.1.", "blocks.1.1."): v for key, v in made.items()}


def without(*starts: str) -> Callable[[State], State]:
    return lambda state: {key: value for key, value in state.items() if not key.startswith(starts)}


def replaced(**tensors: torch.Tensor) -> Callable[[State], State]:
    names = {name.replace("__", "."): value for name, value in tensors.items()}
    return lambda state: {**state, **names}


# What is refused


def cut(inner: Callable[[State, Path], Path], share: float = 0.6) -> Callable[[State, Path], Path]:
    def write(state: State, folder: Path) -> Path:
        path = inner(state, folder)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
        return path

    return write


def npz(state: State, folder: Path) -> Path:
    np.savez(folder / "vit.npz", cls=np.zeros(3))
    return folder / "vit.npz"


def zipped(state: State, folder: Path) -> Path:
    with zipfile.ZipFile(folder / "model.zip", "w") as file:
        file.writestr("model/model.safetensors", save(dict(list(state.items())[:2])))
    return folder / "model.zip"


def tar_gz(state: State, folder: Path) -> Path:
    with tarfile.open(folder / "model.tar.gz", "w:gz") as file:
        file.addfile(tarfile.TarInfo("model.bin"), io.BytesIO())
    return folder / "model.tar.gz"


def script_of_another(state: State, folder: Path) -> Path:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU())
    torch.jit.trace(model, torch.zeros(1, 4)).save(str(folder / "model.pt"))
    return folder / "model.pt"


def two(state: State, folder: Path) -> Path:
    for name in ("first.pth", "second.pth"):
        torch_file(name)(state, folder)
    return folder


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was executed')",))


def whole_module(state: State) -> nn.Module:
    model = small_model("dino")
    model.load_state_dict(state)
    return model
