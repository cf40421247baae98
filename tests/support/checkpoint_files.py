"""Files as people have them, made from seeds: one function for each layout of `docs/generator/checkpoints.toml`."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors.torch import save, save_file
from torch import nn

from support.checkpoints import small_model
from support.namings import frozen, state_of

State = dict[str, torch.Tensor]


class Layout(NamedTuple):
    """A kind of file."""

    model: str
    """The small model that it is given to."""
    tensors: Callable[[], State]
    """What it holds, under the names of `MODELS` or of transformers."""
    write: Callable[[State, Path], Path]
    """Writes it into an empty folder, and gives its path."""


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


PAGE = b"\n<!DOCTYPE html>\n<html><head><title>Sign in</title></head></html>"
DENIED = b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>'
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 346284714\n"
ONNX = b"\x08\x0a\x12\x07pytorch\x1a\x052.9.1:\xa4\x02\n\x05"
SAVED_MODEL = b"\x08\x01\x12\xe2\xc6\x04\n\xb4\x18\n\x14"

dino, clip = own("dino"), own("clip")

LAYOUTS: Mapping[str, Layout] = {
    "clip-openai-torchscript": Layout("clip", clip, openai_archive),
    "clip-openai-state": Layout("clip", clip, torch_file("ViT-B-16.state.pt", with_sizes)),
    "clip-open-clip": Layout("clip", clip, torch_file("open_clip_pytorch_model.bin")),
    "clip-open-clip-folder": Layout("clip", clip, in_folder("open_clip_model.safetensors", "model.safetensors")),
    "clip-open-clip-training": Layout(
        "clip",
        clip,
        torch_file(
            "epoch_32.pt",
            lambda s: {"epoch": 32, "name": "run", "state_dict": prefixed("module.")(s), "optimizer": optimizer()},
        ),
    ),
    "clip-custom-text": Layout("clip", clip, torch_file("custom.pt", custom_text)),
    "clip-transformers": Layout("clip", theirs("clip"), safe_file("model.safetensors")),
    "clip-transformers-bin": Layout(
        "clip",
        theirs("clip"),
        torch_file(
            "pytorch_model.bin", lambda s: {**s, "text_model.embeddings.position_ids": torch.arange(77)[None]}
        ),
    ),
    "clip-hub-cache": Layout("clip", theirs("clip"), in_cache),
    "clip-shards": Layout("clip", theirs("clip"), shards),
    "clip-lightning": Layout("clip", clip, lightning),
    "clip-bfloat16": Layout("clip", clip, safe_file("clip.safetensors", cast(torch.bfloat16))),
    "clip-other-grid": Layout("clip", clip, torch_file("clip.pt", grown("visual.positional_embedding", 65))),
    "dino-meta": Layout("dino", dino, torch_file("dino_vitbase16_pretrain.pth")),
    "dino-meta-full": Layout("dino", dino, torch_file("dino_full_checkpoint.pth", full_checkpoint)),
    "dino-transformers": Layout("dino", theirs("vit"), safe_file("model.safetensors")),
    "dino-timm-folder": Layout("dino", dino, in_folder("model.safetensors", "config.json")),
    "dino-other-grid": Layout("dino", dino, torch_file("dino.pth", grown("pos_embed", 197))),
    "dinov2-meta": Layout("dinov2", own("dinov2"), torch_file("dinov2.pth", lambda s: meta(s, ""))),
    "dinov2-meta-registers": Layout(
        "dinov2_registers", own("dinov2_registers"), torch_file("dinov2_vitb14_reg4_pretrain.pth", meta_registers)
    ),
    "dinov2-meta-teacher": Layout("dinov2", own("dinov2"), torch_file("teacher_checkpoint.pth", teacher)),
    "dinov2-meta-chunks": Layout("dinov2", own("dinov2"), torch_file("model.rank_0.pth", chunks)),
    "dinov2-transformers": Layout("dinov2", theirs("dinov2"), safe_file("model.safetensors")),
    "dinov2-transformers-registers": Layout(
        "dinov2_registers", theirs("dinov2_registers"), safe_file("model.safetensors")
    ),
    "dinov2-transformers-classifier": Layout("dinov2", theirs("dinov2_classifier"), safe_file("model.safetensors")),
    "dinov3-meta": Layout("dinov3", own("dinov3"), torch_file("dinov3_vits16.pth", meta_dinov3)),
    "dinov3-transformers": Layout("dinov3", theirs("dinov3"), safe_file("model.safetensors")),
    "dinov3-timm": Layout("dinov3", own("dinov3"), safe_file("model.safetensors")),
    "sam-meta": Layout("sam", own("sam"), torch_file("sam_vit_b_01ec64.pth")),
    "sam-transformers": Layout("sam", theirs("sam"), safe_file("model.safetensors")),
    "sam-medsam": Layout(
        "sam", own("sam"), torch_file("medsam.pth", lambda s: {"model": s, "optimizer": optimizer(), "epoch": 3})
    ),
    "sam-lightning": Layout(
        "sam",
        own("sam"),
        torch_file(
            "last.ckpt", lambda s: {"state_dict": prefixed("model.sam.", **{"loss.weight": torch.ones(2)})(s)}
        ),
    ),
    "compiled": Layout("dino", dino, torch_file("compiled.pt", prefixed("_orig_mod."))),
    "distributed": Layout("dino", dino, torch_file("ddp.pt", prefixed("module._orig_mod."))),
    "model-state-dict": Layout(
        "dino",
        dino,
        torch_file("checkpoint.pt", lambda s: {"model_state_dict": s, "optimizer_state_dict": optimizer()}),
    ),
    "ema-timm": Layout(
        "dino", dino, torch_file("model_best.pth.tar", lambda s: {"state_dict": other(s), "state_dict_ema": s})
    ),
    "ema-model": Layout("dino", dino, torch_file("checkpoint.pth", lambda s: {"model": other(s), "model_ema": s})),
    "ema-averaged": Layout(
        "dino", dino, torch_file("swa.pt", lambda s: {"n_averaged": torch.tensor(7), **prefixed("module.")(s)})
    ),
    "ema-nested": Layout(
        "dino",
        dino,
        torch_file("best.pth", lambda s: {"model": other(s), "ema": {"module": s, "updates": 9}, "epoch": 1}),
    ),
    "whole-module": Layout("dino", dino, torch_file("model.pt", lambda s: _module(s))),
    "older-format": Layout("dino", dino, torch_file("dino.pth", _use_new_zipfile_serialization=False)),
    "safetensors-as-pth": Layout("dino", dino, safe_file("model.pth")),
    "torch-as-safetensors": Layout("dino", dino, torch_file("model.safetensors")),
    "lfs-pointer": Layout("dino", dino, content("model.safetensors", POINTER)),
    "empty": Layout("dino", dino, content("model.pth", b"")),
    "zeros": Layout("dino", dino, content("model.pth", bytes(4096))),
    "login-page": Layout("dino", dino, content("model.pth", PAGE)),
    "access-denied": Layout("dino", dino, content("model.pth", DENIED)),
    "config-json": Layout("dino", dino, content("config.json", b'{\n  "architectures": ["Dinov2Model"]\n}')),
    "truncated-zip": Layout("sam", own("sam"), cut(torch_file("sam_vit_b_01ec64.pth"))),
    "truncated-safetensors": Layout("dino", dino, cut(safe_file("model.safetensors"))),
    "flax": Layout("dino", dino, content("flax_model.msgpack", b"\x83\xaaembeddings\x82\xa9cls_token\xc7")),
    "keras": Layout("dino", dino, content("tf_model.h5", b"\x89HDF\r\n\x1a\n\x00\x00")),
    "saved-model": Layout("dino", dino, content("saved_model.pb", SAVED_MODEL)),
    "onnx": Layout("dino", dino, content("model.onnx", ONNX)),
    "gguf": Layout("dino", dino, content("model.gguf", b"GGUF\x03\x00\x00\x00")),
    "npz": Layout("dino", dino, npz),
    "zipped-folder": Layout("dino", dino, zipped),
    "tar-gz": Layout("dino", dino, tar_gz),
    "folder-of-two": Layout("dino", dino, two),
    "one-shard": Layout("dino", dino, one_shard),
    "lost-shard": Layout("dino", dino, lost_shard),
    "vision-only": Layout(
        "clip", theirs("clip"), safe_file("model.safetensors", without("text_", "logit_scale", "visual_projection"))
    ),
    "another-size": Layout(
        "dino", dino, torch_file("large.pth", replaced(patch_embed__proj__weight=torch.ones(96, 3, 8, 8)))
    ),
    "another-model": Layout("dino", own("sam"), torch_file("sam_vit_b_01ec64.pth")),
    "deeper": Layout(
        "dino",
        dino,
        torch_file(
            "deep.pth", lambda s: {**s, **{k.replace("s.2.", "s.3."): v for k, v in s.items() if "s.2." in k}}
        ),
    ),
    "shallower": Layout("dino", dino, torch_file("shallow.pth", without("blocks.2."))),
    "unknown-prefix": Layout("dino", dino, torch_file("detector.pth", prefixed("detector.neck."))),
    "lora": Layout(
        "dino",
        dino,
        safe_file(
            "adapter_model.safetensors",
            lambda s: {f"base_model.model.blocks.{k}.attn.qkv.lora_A.weight": torch.ones(8, 64) for k in (0, 1)},
        ),
    ),
    "quantised": Layout(
        "dino",
        dino,
        safe_file("model.safetensors", replaced(blocks__0__mlp__fc1__weight=torch.ones(256, 64, dtype=torch.int8))),
    ),
    "nan": Layout("dino", dino, torch_file("diverged.pth", replaced(norm__bias=torch.full((64,), torch.nan)))),
    "script-of-another": Layout("clip", clip, script_of_another),
    "optimizer-only": Layout("dino", dino, torch_file("optimizer.pt", lambda s: optimizer())),
    "older-format-with-code": Layout("dino", dino, content("model.pkl", pickle.dumps(Evil(), protocol=2))),
    "text": Layout("dino", dino, content("notes.pth", b"epoch 3: loss 0.1\n")),
}  # fmt: skip
"""By the ids of the table."""


def _module(state: State) -> nn.Module:
    model = small_model("dino")
    model.load_state_dict(state)
    return model
