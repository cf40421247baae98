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
    yield from digest_blocks()
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
            ("`STAGE.PRECISION.HASH.onnx`", "a stage's graph in one precision; the name tells its content's SHA-256"),
            ("`STAGE.PRECISION.HASH.onnx.data`", "its weights, where the graph would pass 2 GB with them"),
            ("`STAGE.PRECISION.….plan`", "a TensorRT plan; its name says which graph, GPU and TensorRT it belongs to"),
            ("`tokenizer.HASH.json`", "CLIP's tokenizer, for pipelines that take words"),
            ("`bundle.json.sig`", "a signature, if whoever ships the bundle made one"),
        ),
    )
    yield prose(
        """A writer moves new files in under names that no old one has, then replaces the manifest, then removes what it
        no longer names: whenever it is killed, a reader finds the old bundle or the new one, whole. Two writers of one
        bundle do not meet: the second is told who the first is."""
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
        "The manifest is the one that was written, by its [digest](#digest-and-signature).",
        "Types are strict, and unknown keys are refused.",
        "What the manifest says twice it says alike: `dimensions` and the contracts, for example.",
        "Every path lies in the folder, also after links are followed.",
        "A file's size and SHA-256 are compared with the manifest before it is opened.",
        "A graph has the inputs and outputs of its contract: names, types, fixed sizes, free axes, and, where the "
        "library tells, which axes are one and the same.",
        "A graph reads no file beside itself but those that its engine lists, wherever in the graph it names them.",
        "An engine has the precision that it goes by, as its census says. Where the package `onnx` is installed, the "
        "graph is counted again.",
    )
    yield prose(
        """In the tables below, *map* stands for a JSON object whose keys are strings. `Bundle.load` reads a manifest,
        `write_manifest` writes one."""
    )


def digest_blocks() -> Iterator[str]:
    """What proves that a manifest is the one that was written, and who wrote it."""
    yield "## Digest and signature"
    yield prose(
        """The key `digest` of `bundle.json` is the SHA-256 of all that the manifest says beside it, as canonical JSON:
        UTF-8, keys sorted, no spaces. Since the manifest names every file by its own SHA-256, the digest stands for
        the whole bundle (`Bundle.digest`). Every command that writes a manifest renews it: `export-engines`,
        `calibrate` and `build-plans` all write by `write_manifest`. A manifest whose digest differs is refused, so it
        is not edited by hand: parameters are changed by `--set` or a [parameters file](tuning.md), templates by another
        export. Manifests of versions 1 and 2 have no digest and are read without one; a newer manifest cannot pass as
        theirs."""
    )
    yield prose(
        """A digest tells accidents, not intent: whoever can write the bundle can renew it. What a forger then changes
        is still held against what he cannot: sizes against the contracts, contracts against the graphs. What no
        signature of a graph shows is the manifest's word alone: templates, parameters, `sam_padding`, the axes' ranges
        and meaning, provenance, and the graphs' weights themselves."""
    )
    yield prose(
        """Who ships bundles signs them: `ovdeploy sign --bundle BUNDLE --key PRIVATE.pem` writes `bundle.json.sig`,
        the Ed25519 signature (hexadecimal) of the bytes `ovdeploy bundle`, a line feed and the digest. Every command
        that loads bundles takes `--verify-key PUBLIC.pem`, Python `Bundle.load(path, verify_key=…)`, and everything
        the environment's `OVDEPLOY_VERIFY_KEY`; a bundle that is not signed with that key is then refused.
        `build-plans` on the deploy box changes the manifest and makes the signature void: ship the plans, or sign
        there. It needs `pip install 'ovdeploy[sign]'` (the package cryptography)."""
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
