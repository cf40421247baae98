"""`ovdeploy lint`: what TensorRT's parser would refuse or handle badly."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from ..bundle.bundle import Bundle
from ..errors import needing
from .common import fail_cleanly

if TYPE_CHECKING:
    from ..graph.lint import Finding

VERSIONS = ("10.16", "11.4")


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--tensorrt",
    "versions",
    multiple=True,
    default=VERSIONS,
    metavar="MAJOR.MINOR",
    show_default=True,
    help="The version that will read the graphs. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
@fail_cleanly
def lint(bundle: Path, versions: tuple[str, ...], as_json: bool) -> None:
    """Read every ONNX graph of BUNDLE for what TensorRT's parser refuses or handles badly, and say what to do.

    Neither TensorRT nor a GPU is needed. The exit code is 1 if anything is found.

    \b
    Example:
      ovdeploy lint engines/trident-b16 --tensorrt 11.4
    """  # fmt: skip
    opened = Bundle.load(bundle)
    asked = [_version(text) for text in versions]
    with needing("onnx", "graph", "reading graphs"):
        from ..graph.lint import lint_model
        from ..graph.model import load_model
    found: dict[tuple[str, str, Finding], list[str]] = {}
    graphs = 0
    for stage, entry in opened.manifest.stages.items():
        for precision, engine in entry.engines.items():
            if not engine.files[0].path.endswith(".onnx"):
                continue
            graphs += 1
            model = load_model(opened.engine_path(stage, precision), weights=False)
            for text, version in zip(versions, asked, strict=True):
                for finding in lint_model(model, version):
                    found.setdefault((stage, precision, finding), []).append(text)
    if as_json:
        lines = [
            {"stage": stage, "precision": precision, **finding._asdict(), "tensorrt": told}
            for (stage, precision, finding), told in found.items()
        ]
        click.echo(msgspec.json.encode({"passed": not found, "graphs": graphs, "findings": lines}).decode())
    else:
        _print(found, graphs, versions)
    sys.exit(1 if found else 0)


def _version(text: str) -> tuple[int, int]:
    parts = text.split(".")
    if len(parts) < 2 or not all(part.isdigit() for part in parts) or int(parts[0]) < 10:
        raise click.BadParameter(f"{text!r}: expected a version of TensorRT from 10.0 on, such as 11.4")
    return int(parts[0]), int(parts[1])


def _print(found: dict[tuple[str, str, Finding], list[str]], graphs: int, versions: tuple[str, ...]) -> None:
    for (stage, precision, finding), told in found.items():
        where = f" at {finding.node}" if finding.node else ""
        click.echo(f"{stage} {precision}: {finding.rule}{where}: {finding.what} (TensorRT {', '.join(told)})")
        click.echo(f"    {finding.fix}. Source: {finding.source}")
    places = f"{len(found)} finding{'s' if len(found) != 1 else ''}"
    click.echo(f"{places} in {graphs} graphs, for TensorRT {', '.join(versions)}")
