"""The table of `docs/generator/checkpoints.toml`: for each id a model, its tensors, and what writes a file of them."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import torch

from support.checkpoint_files import (
    Evil,
    State,
    cast,
    chunks,
    content,
    custom_text,
    cut,
    full_checkpoint,
    grown,
    in_cache,
    in_folder,
    lightning,
    lost_shard,
    meta,
    meta_dinov3,
    meta_registers,
    npz,
    one_shard,
    openai_archive,
    optimizer,
    other,
    own,
    prefixed,
    replaced,
    safe_file,
    script_of_another,
    shards,
    tar_gz,
    teacher,
    theirs,
    torch_file,
    two,
    whole_module,
    with_sizes,
    without,
    zipped,
)
from support.public_names import public_names


class Layout(NamedTuple):
    """A kind of file."""

    model: str
    """The small model that it is given to."""
    tensors: Callable[[], State]
    """What it holds, under the names of `MODELS` or of transformers."""
    write: Callable[[State, Path], Path]
    """Writes it into an empty folder, and gives its path."""


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
    "catseg-detectron2": Layout(
        "catseg",
        own("catseg"),
        torch_file("model_base.pth", lambda s: {"model": public_names(s), "optimizer": optimizer(), "iteration": 9}),
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
    "whole-module": Layout("dino", dino, torch_file("model.pt", lambda s: whole_module(s))),
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
