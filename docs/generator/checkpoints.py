"""The page about checkpoints: which files are read, and what comes of those that are not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .markdown import prose, table

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DATA = Path(__file__).with_suffix(".toml")
"""The files that `tests/export/models/test_layouts.py` makes and loads."""


def layouts() -> list[dict[str, Any]]:
    """Rows of the table: `id`, `what`, and where there is something to tell `told` and `refused`."""
    rows: list[dict[str, Any]] = tomllib.loads(DATA.read_text(encoding="utf-8"))["layout"]
    return rows


def checkpoints_page() -> Iterator[str]:
    """The page, block by block."""
    rows = layouts()
    loaded, refused = ([row for row in rows if bool(row.get("refused")) is kind] for kind in (False, True))
    yield "# Checkpoints"
    yield prose(
        """`--clip-weights`, `--dino-weights`, `--sam-weights` and `--weights ROLE=…` take a checkpoint as it lies on
        your disk. What a file is, its content says, not its suffix. A folder is read if it is clear which file in it is
        meant."""
    )
    yield (
        "```sh\n"
        "export-engines trident-b16 --clip-weights ViT-B-16.pt \\\n"
        "  --dino-weights models--facebook--dino-vitb16 --sam-weights sam_vit_b_01ec64.pth\n"
        "```"
    )
    yield prose(
        """Each tensor of the model must be in the file, and each of the file in the model. What is renamed, left out,
        resampled or converted on the way is printed by the export, and stands in the bundle's manifest
        (`provenance.ROLE.changes`). Nothing is filled in. A file that does not fit is refused with names and shapes,
        and so is one with NaN or infinity in it."""
    )
    yield "## What is read"
    yield prose(
        f"""Each of these {len(loaded)} is made by a test from seeds, small, under the true names, and loaded. For
        transformers' names the test also computes the model's outputs, and compares them with what transformers 5.24
        computed from the same tensors; Meta's names are held against timm's own conversion. The published files
        themselves were not at hand."""
    )
    yield table(("file", "what is told"), (plain_row(row) for row in loaded))
    yield "## What is refused"
    yield table(("file", "the message has"), (plain_row(row) for row in refused))
    yield "## Names"
    yield prose(
        """The renaming is tables, each row with the file's name and the model's:
        `export/models/checkpoints/clip_names.py`, `dino_names.py`, `sam_names.py` and `catseg_names.py`. A naming says
        where its names are written. `nests.py` lists the keys under which trainers keep weights, averages (EMA) before
        what they are averages of; `prefixes.py` lists what they put before names. Where a file holds two models, the
        export tells which it took."""
    )
    yield prose(
        """Names say nothing about the activation, and a CLIP with the wrong one fits and answers nonsense. OpenAI's,
        also in transformers' naming, computes QuickGELU, most of open_clip's own GELU. Where it is known, from
        OpenAI's own files and from `config.json` or `open_clip_config.json` beside the weights, the wrong model is
        refused. Elsewhere mind it: a recipe's model for OpenAI's weights ends in `-quickgelu`, as that of
        `trident-b16`."""
    )
    yield "## Position embeddings of another grid"
    yield prose(
        """They are brought to the model's grid by the rule of its library: open_clip's `resize_pos_embed` for CLIP,
        timm's `resample_abs_pos_embed` for DINO and DINOv2 (bicubic, antialiased; the class token's stays). DINOv3 has
        none. For SAM there is no such rule, and another grid is refused."""
    )
    yield "## Published weights, and mirrors of them"
    yield prose(
        """`pretrained` fetches CLIP and DINO from the Hugging Face hub, by open_clip and timm, and promptable models
        from their authors' releases. Two variables name a mirror instead: `HF_ENDPOINT` for the hub, and
        `OVDEPLOY_RELEASES` for releases, where `https://HOST/PATH` is asked as `$OVDEPLOY_RELEASES/HOST/PATH`.
        Downloads are kept (`$HF_HOME`, `$TORCH_HOME`) and not fetched again."""
    )
    yield prose(
        """A download that breaks off is tried again at once, and after three times told; the same command then goes on
        with it where the file's digits are known, and begins again for others, whose file may have been replaced.
        Where an official name ends in the first digits of the file's SHA-256, as SAM's do, a file that does
        not have them is refused and not kept. The tests run recipes through all of this against a mirror with random
        weights under the official names; `python tests/measure/mirror.py WORK` does it at full size. The true files
        have not been fetched."""
    )
    yield "## No code is run"
    yield prose(
        """safetensors hold no code. PyTorch's zip archives, TorchScript included, hold a pickle, which could. It is
        read by an unpickler of this package that knows how tensors are put together and nothing else: every other
        class or function that it names becomes an inert stand-in, and is neither imported nor called. So OpenAI's
        archives, Lightning's checkpoints with hyperparameters and whole modules of `torch.save(model)` are read, and
        their code is not. PyTorch's older format, before 1.6, is read by `torch.load(weights_only=True)`; one that
        holds more than tensors is refused."""
    )


def plain_row(row: dict[str, Any]) -> tuple[str, str]:
    """A row of either table."""
    return row["what"], row.get("told", "nothing: it is read as it is")
