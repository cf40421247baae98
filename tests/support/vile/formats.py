"""The file formats, and what is done to their contents."""

from __future__ import annotations

import contextlib
import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tomli_w
from PIL import Image

from .doors import World

LONG = 30_000_000
DEEP = 10**5


class Format(NamedTuple):
    """A file that the package reads."""

    file: str
    """Its name, where readers go by it."""
    good: Callable[[World], bytes]
    read: Callable[[World, Path], Any]
    """Reads a file of it, and uses what was read."""
    kind: str = "bytes"
    """json, toml, npz or bytes: what its contents are made of."""
    kept: bool = False
    """Whether files beside it stay from case to case."""


def _seal(path: Path) -> None:
    """Give a manifest the digest of what it now says: else the digest alone would be tried."""
    from ovdeploy.runtime.bundle.seal import sealed

    with contextlib.suppress(Exception):  # what is no JSON, or too deep, stays as it is
        data = json.loads(path.read_bytes())
        if isinstance(data, dict):
            path.write_text(json.dumps(sealed(data)))


def _manifest(world: World, path: Path) -> None:
    """A bundle whose other files are those of the good one."""
    from ovdeploy.runtime import Bundle

    for file in world.bundle.iterdir():
        there = path.parent / file.name
        if file.name != path.name and file.is_file() and not there.exists():
            shutil.copyfile(file, there)  # a link would lead out of the bundle
    _seal(path)
    bundle = Bundle.load(path.parent)
    bundle.ranges()
    bundle.missing_stages()
    bundle.recipe.override({"stride": 100})
    for stage, entry in bundle.manifest.stages.items():
        for precision in entry.engines:
            bundle.engine_path(stage, precision)
    bundle.tokenizer_path()


def _manifest_in_use(world: World, path: Path) -> None:
    """Such a bundle opened, and a photo segmented."""
    from ovdeploy.runtime import Segmenter

    _manifest(world, path)
    with Segmenter.load(path.parent, backend="onnxruntime", threads=1) as segmenter:
        segmenter.segment(world.image, segmenter.vocabulary(["cup; mug", "table"]))


def _load_recipe(world: World, path: Path) -> None:
    from ovdeploy.runtime import load_recipe

    recipe = load_recipe(path)
    _ = recipe.stages, recipe.possible_stages, recipe.int8_stages


def _load_parameters(world: World, path: Path) -> None:
    from ovdeploy.runtime import load_parameters

    world.opened.recipe.override(load_parameters(path))


def _spec(world: World, path: Path) -> None:
    from ovdeploy.runtime.datasets import FolderDataset, load_spec

    dataset = FolderDataset(load_spec(path), world.dataset)
    dataset.read(dataset.names[0])


def _islands(world: World, path: Path) -> None:
    from ovdeploy.runtime.graph.islands import read_islands

    read_islands(path)


def _vocabulary(world: World, path: Path) -> None:
    from ovdeploy.runtime import Vocabulary

    Vocabulary.load(path)


def _tokenizer(world: World, path: Path) -> None:
    from ovdeploy.runtime.words.tokenizer import ClipTokenizer

    ClipTokenizer(path, 77)(["a cup, naïve 杯"])


def _photo(world: World, path: Path) -> None:
    from ovdeploy.runtime import load_photo

    load_photo(path)


def _labels(world: World, path: Path) -> None:
    from ovdeploy.runtime.datasets.labels import label_table, read_labels

    read_labels(path, label_table(world.spec.labels[0], world.spec.classes), (40, 52))


def _mask(world: World, path: Path) -> None:
    from ovdeploy.runtime.cli.prompt import _best_logits

    world.promptable.predict(mask=_best_logits(path))


def _checkpoint(world: World, path: Path) -> None:
    from ovdeploy.export.models.weights import read_checkpoint

    read_checkpoint(path)


def _names(world: World, path: Path) -> None:
    import msgspec

    from ovdeploy.runtime.datasets import FolderDataset

    dataset = FolderDataset(msgspec.structs.replace(world.spec, list=str(path)), world.dataset)
    for name in dataset.names[:3]:
        dataset.read(name)


def _journal(world: World, path: Path) -> None:
    from ovdeploy.runtime.evaluation.journal import Journal

    good = {"run.json": RUN, "journal.jsonl": _journal_bytes()}
    for name, content in good.items():
        if path.name != name:
            (path.parent / name).write_bytes(content)
    with Journal(path.parent, {"bundle": "x"}) as journal:
        list(journal.entries())


def _journal_bytes() -> bytes:
    from ovdeploy.runtime.kept.lines import Lines

    return Lines(RUN.replace(b" ", b"")).written(json.dumps(ENTRY).encode())


def _vocabulary_bytes(world: World) -> bytes:
    world.vocabulary.save(world.folder / "good.npz")
    return (world.folder / "good.npz").read_bytes()


def _image(form: str, *, grey: bool = False) -> Callable[[World], bytes]:
    def make(world: World) -> bytes:
        file = io.BytesIO()
        image = world.image[..., 0] % 2 if grey else world.image
        Image.fromarray(image).save(file, form)
        return file.getvalue()

    return make


def _npy(world: World) -> bytes:
    file = io.BytesIO()
    np.save(file, world.promptable.predict(points=[[1, 2]]).low_res_logits)
    return file.getvalue()


def _checkpoint_bytes(world: World) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save({"a": torch.arange(20.0), "b": torch.ones(2, 3)}, file)
    return file.getvalue()


def _toml_of(name: str) -> Callable[[World], bytes]:
    from importlib import resources

    return lambda world: (resources.files("ovdeploy.engines") / name).read_bytes()


ENTRY = {
    "photo": "a",
    "measured": [{"predictor": "bundle", "kind": "coarse", "cells": [[0, 0, 9]], "boundary": {"0": 1.0}}],
}

RUN = b'{"bundle": "x"}'

FORMATS: dict[str, Format] = {
    "manifest": Format("bundle.json", lambda w: (w.bundle / "bundle.json").read_bytes(), _manifest, "json", kept=True),
    "manifest in use": Format(
        "bundle.json", lambda w: (w.bundle / "bundle.json").read_bytes(), _manifest_in_use, "json", kept=True
    ),
    "recipe": Format("mine.toml", _toml_of("micro.toml"), _load_recipe, "toml"),
    "parameters": Format(
        "p.toml",
        lambda w: b"[parameters]\nstride = 100\nrefine = true\nregion_threshold = 0.25\n",
        _load_parameters,
        "toml",
    ),
    "dataset": Format(
        "d.toml",
        lambda w: (
            b'title = "t"\nsource = "s"\nclasses = ["a", "b"]\nphotos = ["{}.png"]\nwords = {a = "x; y"}\n'
            b'[[labels]]\npath = "{}.labels.tif"\nvalues = "0-1"\nignored = "255"\n'
        ),
        _spec,
        "toml",
    ),
    "islands": Format(
        "i.toml", lambda w: b'precision = "fp16"\n[stages.dino]\nclasses = ["softmax"]\n', _islands, "toml"
    ),
    "vocabulary": Format("v.npz", _vocabulary_bytes, _vocabulary, "npz"),
    "tokenizer": Format(
        "tokenizer.json", lambda w: next(w.bundle.glob("tokenizer.*json")).read_bytes(), _tokenizer, "json"
    ),
    "photo.png": Format("a.png", _image("PNG"), _photo),
    "photo.jpg": Format("a.jpg", _image("JPEG"), _photo),
    "photo.tif": Format("a.tif", _image("TIFF"), _photo),
    "photo.gif": Format("a.gif", _image("GIF"), _photo),
    "photo.webp": Format("a.webp", _image("WEBP"), _photo),
    "label map": Format("l.png", _image("PNG", grey=True), _labels),
    "mask prompt": Format("m.prompt.npy", _npy, _mask),
    "checkpoint": Format("c.pt", _checkpoint_bytes, _checkpoint),
    "list of names": Format("names.txt", lambda w: b"one\n", _names),
    "journal": Format("journal.jsonl", lambda w: _journal_bytes(), _journal),
    "run of a journal": Format("run.json", lambda w: RUN, _journal, "json"),
}

VILE_VALUES: dict[str, str] = {
    "true": "true",
    "0": "0",
    "-1": "-1",
    "2**31": str(2**31),
    "2**63": str(2**63),
    "5000 digits": "9" * 5000,
    "0.5": "0.5",
    "1e308": "1e308",
    "empty text": '""',
    "text": '"x"',
    "dots": '"../../etc/passwd"',
    "absolute": '"/dev/zero"',
    "NUL": '"a\\u0000b"',
    "long text": '"' + "x" * 10**5 + '"',
    "placeholders": '"{}{}{0}%s"',
    "list": "[]",
    "list of list": "[[[[]]]]",
    "table": "{}",
    "deep list": "[" * DEEP + "]" * DEEP,
}
"""What JSON and TOML write alike."""

VILE_JSON: dict[str, str] = {
    **VILE_VALUES,
    "null": "null",
    "1e999": "1e999",
    "NaN": "NaN",
    "Infinity": "-Infinity",
    "surrogate": '"\\udcff"',
    "list of null": "[null]",
    "long list": "[" + "1," * 10**5 + "1]",
    "table of nonsense": '{"nonsense": 1}',
    "deep table": '{"a":' * DEEP + "1" + "}" * DEEP,
}
"""In place of every value."""

VILE_TOML: dict[str, str] = {
    **VILE_VALUES,
    "nan": "nan",
    "inf": "-inf",
    "place in dots": '"../{}.png"',
    "ranges": '"0-99999999999"',
    "table of nonsense": "{nonsense = 1}",
    "date": "1979-05-27T07:32:00Z",
}

MARK = "\u2603 a place \u2603"


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """All places of a tree, tables and lists themselves too; of a long list the first and the last."""
    yield path
    if isinstance(value, dict):
        keys = list(value)
        for key in keys if len(keys) < 60 else (*keys[:2], keys[-1]):
            yield from places(value[key], (*path, key))
    elif isinstance(value, list):
        for index in range(len(value)) if len(value) < 4 else (0, len(value) - 1):
            yield from places(value[index], (*path, index))


def _with(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a tree with another value at a place; without the place, where `new` is `places`."""
    if not path:
        return new
    copied: Any = dict(value) if isinstance(value, dict) else list(value)
    if len(path) == 1 and new is places:
        del copied[path[0]]
    else:
        copied[path[0]] = _with(value[path[0]], path[1:], new)
    return copied


def damages(content: bytes, seed: int) -> dict[str, Callable[[], bytes]]:
    """What can befall any file."""
    rng = random.Random(seed)
    found: dict[str, Callable[[], bytes]] = {
        "empty": lambda: b"",
        "a byte": lambda: content[:1],
        "zeros": lambda: bytes(len(content)),
        "30 MB of itself": lambda: content * (LONG // len(content) + 1),
        "30 MB of zeros": lambda: content + bytes(LONG),
        "30 MB of text": lambda: b"a" * LONG,
        "30 MB of brackets": lambda: b"[" * LONG,
        "30 MB of quotes": lambda: content + b'"' * LONG,
        "a long dotted key": lambda: b"a" + b".a" * 60_000 + b" = 1\n",
        "no UTF-8": lambda: b"\xff\xfe" + content,
        "twice": lambda: content + content,
        "not a file of its kind": lambda: b"PK\x03\x04" + bytes(60),
    }
    for number in range(24):
        cut, at, bit = rng.randrange(len(content)), rng.randrange(len(content)), rng.randrange(8)
        found[f"cut {number}"] = lambda cut=cut: content[:cut]
        found[f"flip {number}"] = lambda at=at, bit=bit: (
            bytes(byte ^ (1 << bit) if index == at else byte for index, byte in enumerate(content))
            if len(content) < 10**5
            else content[:at] + bytes([content[at] ^ (1 << bit)]) + content[at + 1 :]
        )
        found[f"head flip {number}"] = lambda at=at % 128, bit=bit: (
            content[: at % len(content)]
            + bytes([content[at % len(content)] ^ (1 << bit)])
            + content[at % len(content) + 1 :]
        )
        found[f"part lost {number}"] = lambda cut=cut, at=at: content[: min(cut, at)] + content[max(cut, at) :]
    return found  # fmt: skip


def contents(form: Format, world: World, seed: int) -> dict[str, Callable[[], bytes]]:
    """Everything that is done to a format's contents, by name."""
    good = form.good(world)
    found = damages(good, seed)
    if form.kind == "json":
        found |= _of_tree(json.loads(good), VILE_JSON, lambda tree: json.dumps(tree), f'"{_escaped(MARK)}"')
    elif form.kind == "toml":
        import sys

        toml = __import__("tomllib" if sys.version_info >= (3, 11) else "tomli")
        found |= _of_tree(toml.loads(good.decode()), VILE_TOML, tomli_w.dumps, f'"{MARK}"')
    elif form.kind == "npz":
        found |= _of_vocabulary(good)
    return found


def _escaped(text: str) -> str:
    return json.dumps(text)[1:-1]


def _of_tree(tree: Any, vile: dict[str, str], dump: Callable[[Any], str], mark: str) -> dict[str, Callable[[], bytes]]:
    found: dict[str, Callable[[], bytes]] = {}
    for path in places(tree):
        where = ".".join(map(str, path)) or "(all)"
        for name, text in vile.items():
            if path:
                found[f"{where} = {name}"] = lambda path=path, text=text: (
                    dump(_with(tree, path, MARK)).replace(mark, text).encode()
                )
            elif dump is not tomli_w.dumps:
                found[f"{where} = {name}"] = lambda text=text: text.encode()
        if path:
            found[f"{where} removed"] = lambda path=path: dump(_with(tree, path, places)).encode()
        if path and isinstance(path[-1], str):
            found[f"{where} doubled"] = lambda path=path: _doubled(tree, path, dump, mark)
    return found


def _doubled(tree: Any, path: tuple[Any, ...], dump: Callable[[Any], str], mark: str) -> bytes:
    """The key twice in its table, with another value the second time."""
    text = dump(_with(tree, path, MARK))
    if dump is tomli_w.dumps:
        return text.replace(mark, f"1\n{path[-1]} = 2").encode()
    return text.replace(mark, f'1, "{path[-1]}": 2').encode()


def _of_vocabulary(good: bytes) -> dict[str, Callable[[], bytes]]:
    """Headers with vile values, and arrays that say to be larger than they are."""
    with np.load(io.BytesIO(good)) as file:
        header, embeddings = json.loads(file["header"].tobytes()), file["embeddings"]

    def packed(header: bytes, embeddings: Any) -> bytes:
        file = io.BytesIO()
        np.savez_compressed(file, header=np.frombuffer(header, np.uint8), embeddings=embeddings)
        return file.getvalue()

    made = _of_tree(header, VILE_JSON, lambda tree: json.dumps(tree), f'"{_escaped(MARK)}"')
    found = {f"header: {name}": lambda make=make: packed(make(), embeddings) for name, make in made.items()}
    arrays: dict[str, Any] = {
        "no axes": np.float32(1), "one axis": embeddings[0], "texts": np.array(["x"]), "nan": embeddings * np.nan,
        "empty": embeddings[:0], "huge values": embeddings.astype(np.float64) * 1e300,
        "complex": embeddings.astype(complex), "a zip bomb": np.zeros((3, 20_000_000), np.float32),
        "objects": np.array([None]),
    }  # fmt: skip
    found |= {
        f"embeddings: {name}": lambda array=array: packed(json.dumps(header).encode(), array)
        for name, array in arrays.items()
    }
    return found | {"embeddings: vast header": lambda: _vast(good)}


def _vast(good: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as archive, zipfile.ZipFile(file, "w") as out:
        out.writestr("header.npy", archive.read("header.npy"))
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f4", "fortran_order": False, "shape": (1 << 47, 3)})
        out.writestr("embeddings.npy", head.getvalue())
    return file.getvalue()
