"""Golden cases of CAT-Seg's public code: weights and inputs by the rule that its files name."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch

from ovdeploy.export.models.checkpoints.catseg_names import CATSEG
from ovdeploy.export.models.checkpoints.fitting import Reading, fit
from ovdeploy.export.models.dense.aggregator import Aggregator, AggregatorSizes
from ovdeploy.export.models.dense.model import Head, LearnedDense


class Case(NamedTuple):
    """A file."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        return self.meta["config"]

    def drawn(self, name: str, shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
        """A tensor by its name."""
        rng = np.random.default_rng([self.meta["seed"], zlib.crc32(name.encode())])
        values = mean + std * rng.standard_normal(tuple(shape))
        return torch.from_numpy(np.asarray(values, np.float32))

    def weights(self) -> dict[str, torch.Tensor]:
        """The state dict, under the checkpoint's names; what is no weight is left out."""
        rows = self.meta["weights"]
        drawn = {n: self.drawn(n, row["shape"], row["mean"], row["std"]) for n, row in rows.items() if "mean" in row}
        return drawn | {n: drawn[row["same_as"]] for n, row in rows.items() if "same_as" in row}

    def inputs(self) -> dict[str, torch.Tensor]:
        return {name: self.drawn(name, row["shape"]) for name, row in self.meta["inputs"].items()}


def read_case(golden: Path, name: str) -> Case:
    with np.load(golden / "learned" / f"{name}.npz", allow_pickle=False) as file:
        arrays = {key: file[key] for key in file.files}
    return Case(arrays, json.loads(str(arrays.pop("meta"))))


def error(came: np.ndarray | torch.Tensor, expected: np.ndarray) -> float:
    """The largest difference, by the largest value."""
    came = np.asarray(came, np.float64)
    return float(np.abs(came - expected).max() / np.abs(expected).max())


def head_of(case: Case) -> Head:
    """The head of an aggregator's case."""
    config = case.config
    sizes = AggregatorSizes(
        config["text_guidance_dim"], hidden=config["hidden_dim"], guide=config["text_guidance_proj_dim"],
        layers=config["num_layers"], heads=config["nheads"],
    )  # fmt: skip
    head = Head(sizes.skips, config["tap_width"], Aggregator(sizes))
    names = {name.removeprefix("sem_seg_head.predictor."): tensor for name, tensor in case.weights().items()}
    head.load_state_dict({name: tensor for name, tensor in names.items() if "attn_mask" not in name})
    return head.eval().requires_grad_(False)


def tower_of(case: Case) -> LearnedDense:
    """A model around the tower of a tower's case; its other parts are whatever they are."""
    config = case.config
    vision = open_clip.CLIPVisionCfg(
        image_size=config["input_resolution"], patch_size=config["patch"], width=config["width"],
        layers=config["layers"], head_width=config["width"] // config["heads"],
    )  # fmt: skip
    text = open_clip.CLIPTextCfg(context_length=8, vocab_size=64, width=32, heads=1, layers=1)
    clip = open_clip.CLIP(config["output_dim"], vision, text, quick_gelu=True)
    sizes = AggregatorSizes(config["output_dim"], hidden=32, guide=32, layers=1)
    model = LearnedDense(
        clip, Head(sizes.skips, config["width"], Aggregator(sizes)), tuple(config["taps"]), config["image_side"]
    )
    state = {f"clip.{name}": tensor for name, tensor in clip.state_dict().items()}
    start = "sem_seg_head.predictor.clip_model."
    theirs = {f"clip.{name.removeprefix(start)}": tensor for name, tensor in case.weights().items()}
    for block in range(config["layers"]):
        place = f"clip.visual.transformer.resblocks.{block}.attn."
        parts = [theirs.pop(f"{place}{part}_proj_weight") for part in "qkv"]
        theirs[f"{place}in_proj_weight"] = torch.cat(parts)
    assert theirs.keys() <= state.keys()
    clip.load_state_dict({name.removeprefix("clip."): tensor for name, tensor in (state | theirs).items()})
    return model.eval().requires_grad_(False)


def whole_of(case: Case) -> LearnedDense:
    """The model of a case of the whole protocol, read as a checkpoint is."""
    config = case.config
    vision = open_clip.CLIPVisionCfg(
        image_size=config["input_resolution"], patch_size=config["patch"], width=config["vision_width"],
        layers=config["vision_layers"], head_width=config["vision_width"] // config["vision_heads"],
    )  # fmt: skip
    text = open_clip.CLIPTextCfg(
        context_length=77, vocab_size=49408, width=config["text_width"], heads=config["text_heads"],
        layers=config["text_layers"],
    )  # fmt: skip
    sizes = AggregatorSizes(
        config["embed_dim"], hidden=config["hidden"], guide=config["projection"], layers=config["aggregator_layers"]
    )
    clip = open_clip.CLIP(config["embed_dim"], vision, text, quick_gelu=True)
    model = LearnedDense(
        clip,
        Head(sizes.skips, config["vision_width"], Aggregator(sizes)),
        tuple(config["taps"]),
        config["clip_resolution"][0],
    )
    model.load_state_dict(fit(case.weights(), model, Reading((CATSEG,)), "the model", "the case").state)
    return model.eval().requires_grad_(False)
