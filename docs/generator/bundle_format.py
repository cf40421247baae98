"""The page about the bundle format."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from ovdeploy.runtime.bundle import migration

from .markdown import items, prose, summary, table
from .pipelines import own_pipelines
from .structs import LINKS, MANIFEST, fields_table


def bundle_page() -> Iterator[str]:
    """The page about bundles, block by block."""
    yield "# Bundle format"
    yield from files_blocks()
    yield from checks_blocks()
    yield from struct_blocks()
    yield "## History of the schema"
    yield prose(
        f"""This page describes version {migration.SCHEMA_VERSION}. `runtime/bundle/migration.py` has a step from each
        version to the next. [Contributing](contributing.md#the-bundle-format) says when the version changes."""
    )
    yield table(("version", "what it has"), history())


def files_blocks() -> Iterator[str]:
    """What lies in the folder."""
    yield prose(
        """A bundle is a folder. `export-engines` writes it on the build box; `calibrate` and `build-plans` write to it
        too. It may be copied anywhere, and no path of a machine is in it."""
    )
    yield table(
        ("file", "what it is"),
        (
            ("`bundle.json`", "the manifest: all that this page describes"),
            ("`STAGE.PRECISION.onnx`", "a stage's graph in one precision"),
            ("`STAGE.PRECISION.onnx.data`", "its weights, where the graph would pass 2 GB with them"),
            ("`STAGE.PRECISION.….plan`", "a TensorRT plan; its name says which graph, GPU and TensorRT it belongs to"),
            ("`tokenizer.json`", "CLIP's tokenizer, for pipelines that take words"),
        ),
    )
    yield prose(
        """Other files may lie beside these, such as TensorRT's timing caches and `islands.PRECISION.toml`. No engine is
        opened from a file that the manifest does not name."""
    )


def checks_blocks() -> Iterator[str]:
    """What is checked when a bundle is read."""
    yield "## What a reader checks"
    yield items(
        "The version comes first. An older manifest is [brought to today's](#history-of-the-schema) in memory, a later "
        "one is refused with what to do.",
        "Types are strict, and unknown keys are refused.",
        "Every path lies in the folder, also after links are followed.",
        "A file's size and SHA-256 are compared with the manifest before it is opened.",
        "A graph reads no file beside itself but those that its engine lists, wherever in the graph it names them.",
        "An engine has the precision that it goes by, as its census says. Where the package `onnx` is installed, the "
        "graph is counted again.",
    )
    yield prose(
        """In the tables below, *map* stands for a JSON object whose keys are strings. `Bundle.load` reads a manifest,
        `write_manifest` writes one."""
    )


def struct_blocks() -> Iterator[str]:
    """The manifest's objects, a table for each."""
    sizes = " or ".join(LINKS[pipeline.sizes] for pipeline in own_pipelines())
    for kind in MANIFEST:
        yield f"## {kind.__name__}"
        yield prose(summary(kind))
        if kind.__struct_config__.omit_defaults:
            yield "Keys that have their default are left out of the file."
        yield fields_table(kind, told={"dimensions": ("`dimensions`", sizes, "required")})


def history() -> list[tuple[str, str]]:
    """The versions, and what the module of migrations says of each."""
    text = " ".join(inspect.cleandoc(migration.__doc__ or "").split("\n\n", 1)[1].split())
    parts = re.split(r"(?:^| )(\d+)\. (?=[A-Z])", text)[1:]
    return list(zip(parts[::2], parts[1::2], strict=True))
