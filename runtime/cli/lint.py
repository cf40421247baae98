"""`ovdeploy lint`: what TensorRT's parser would refuse or handle badly, and what NVIDIA's own parser says."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
from rich.console import Console

from ..bundle.bundle import Bundle
from ..errors import needing
from .common import bundle_argument, fail_cleanly
from .progress import line_reporter

if TYPE_CHECKING:
    from ..backends.tensorrt.library import Library
    from ..graph.lint import Finding

VERSIONS = ("10.16", "11.4")

Found = dict[tuple[str, str, "Finding"], list[str]]
"""By stage, precision and finding: who says so, a version of TensorRT or the library that was asked."""


@click.command()
@bundle_argument
@click.option(
    "--tensorrt",
    "versions",
    multiple=True,
    default=VERSIONS,
    metavar="MAJOR.MINOR",
    show_default=True,
    help="The version that will read the graphs. May be repeated.",
)
@click.option(
    "--parse",
    is_flag=True,
    help="Also let TensorRT-RTX's parser read the graphs. It must be installed; no GPU is needed.",
)
@click.option("--build", is_flag=True, help="Also let its builder build a plan of each, which is thrown away.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@fail_cleanly
def lint(bundle: Path, versions: tuple[str, ...], parse: bool, build: bool, as_json: bool) -> None:
    """Read every ONNX graph of BUNDLE for what TensorRT's parser refuses or handles badly, and say what to do.

    Neither TensorRT nor a GPU is needed: the rules are tables, held against NVIDIA's parser by our tests. --parse asks
    that parser itself, --build the builder too. The exit code is 1 if anything is found.

    \b
    Examples:
      ovdeploy lint --bundle engines/trident-b16 --tensorrt 11.4
      ovdeploy lint --bundle engines/trident-b16 --build
    """  # fmt: skip
    opened = Bundle.load(bundle)
    asked = [_version(text) for text in versions]
    asked_too = _library() if parse or build else None
    graphs = list(_graphs(opened))
    found: Found = {}
    for stage, precision in graphs:
        for finding, text in _findings(opened, stage, precision, dict(zip(versions, asked, strict=True))):
            found.setdefault((stage, precision, finding), []).append(text)
        for finding in _tried(asked_too, opened, stage, precision, build=build) if asked_too else ():
            found.setdefault((stage, precision, finding), []).append(finding.source)
    if as_json:
        lines = [
            {"stage": stage, "precision": precision, **finding._asdict(), "tensorrt": told}
            for (stage, precision, finding), told in found.items()
        ]
        click.echo(msgspec.json.encode({"passed": not found, "graphs": len(graphs), "findings": lines}).decode())
    else:
        _print(found, len(graphs), versions)
        if asked_too:
            verb = "parsed and built" if build else "parsed"
            click.echo(f"{verb} by {asked_too.title} {asked_too.load().__version__}")
    sys.exit(1 if found else 0)


def _graphs(bundle: Bundle) -> Iterator[tuple[str, str]]:
    """Stage and precision of every graph."""
    for stage, entry in bundle.manifest.stages.items():
        for precision, engine in entry.engines.items():
            if engine.files[0].path.endswith(".onnx"):
                yield stage, precision


def _findings(
    bundle: Bundle, stage: str, precision: str, versions: Mapping[str, tuple[int, int]]
) -> Iterator[tuple[Finding, str]]:
    """What the tables say of a graph, with the version that it holds for."""
    with needing("onnx", "graph", "reading graphs"):
        from ..graph.lint import lint_model
        from ..graph.model import load_model
    model = load_model(bundle.engine_path(stage, precision), weights=False)
    for text, version in versions.items():
        for finding in lint_model(model, version):
            yield finding, text


def _library() -> Library:
    """TensorRT-RTX, which parses and builds without a GPU.

    Raises:
        MissingExtraError, EngineError: it is not installed, or does not load here.
    """
    from ..backends.tensorrt.libraries import LIBRARIES

    library = LIBRARIES["tensorrt-rtx"]
    library.load()
    return library


def _tried(library: Library, bundle: Bundle, stage: str, precision: str, *, build: bool) -> list[Finding]:
    from ..graph.trial import try_graph

    contract, path = bundle.stage(stage).contract, bundle.engine_path(stage, precision)
    console = Console(stderr=True)
    with console.status(f"{stage} {precision}") as status:
        return try_graph(library, path, contract, precision, build=build, tell=line_reporter(console, status))


def _version(text: str) -> tuple[int, int]:
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts) or int(parts[0]) < 10:
        raise click.BadParameter(f"{text!r}: expected a version of TensorRT from 10.0 on, such as 11.4")
    return int(parts[0]), int(parts[1])


def _print(found: Found, graphs: int, versions: tuple[str, ...]) -> None:
    for (stage, precision, finding), told in found.items():
        where = f" at {finding.node}" if finding.node else ""
        by = ", ".join(text if text[0].isalpha() else f"TensorRT {text}" for text in told)
        click.echo(f"{stage} {precision}: {finding.rule}{where}: {finding.what} ({by})")
        click.echo(f"    {finding.fix}. Source: {finding.source}")
    places = f"{len(found)} finding{'s' if len(found) != 1 else ''}"
    click.echo(f"{places} in {graphs} graphs, for TensorRT {', '.join(versions)}")
