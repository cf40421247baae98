"""`ovdeploy doctor`: what is installed, what works here, and the line that installs what is missing."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table

from ..sessions import BACKENDS

EXTRAS = {
    "export": ("torch", "torchvision", "open_clip_torch", "segment-anything", "timm", "safetensors", "onnx",
               "onnxscript", "onnxslim"),
}  # fmt: skip
"""Packages that the optional parts beside the backends need, by extra."""


class Check(NamedTuple):
    """One line of the report."""

    what: str
    state: str
    works: bool
    fix: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def doctor(as_json: bool) -> None:
    """Tell what is installed, which backends work here, and how to install what is missing.

    The exit code is 0 if at least one backend works, else 1.
    """
    backends = [_backend(name) for name in BACKENDS]
    extras = [_extra(name, packages) for name, packages in EXTRAS.items()]
    facts = {
        "ovdeploy": version("ovdeploy"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    if as_json:
        report: dict[str, Any] = {**facts, "checks": [check._asdict() for check in (*backends, *extras)]}
        click.echo(msgspec.json.encode(report).decode())
    else:
        _print(facts, backends, extras)
    sys.exit(0 if any(check.works for check in backends) else 1)


def _backend(name: str) -> Check:
    """Whether a backend runs, tried on the smallest graph there is."""
    backend = BACKENDS[name]
    install = f"pip install 'ovdeploy[{backend.extra}]'"
    try:
        found = version(backend.package)
    except PackageNotFoundError:
        return Check(f"backend {name}", "not installed", False, install)
    try:
        module = __import__(backend.package)
        state = f"{found}, {', '.join(module.get_available_providers())}"
    except Exception as error:  # a broken wheel can raise anything; the doctor reports it
        return Check(f"backend {name}", f"{found} does not import: {error}", False, f"reinstall: {install}")
    return Check(f"backend {name}", state, True, "")


def _extra(name: str, packages: tuple[str, ...]) -> Check:
    missing = []
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    state = f"missing: {', '.join(missing)}" if missing else "installed"
    purpose = {"export": "export-engines and parity (build box)"}[name]
    return Check(purpose, state, not missing, f"pip install 'ovdeploy[{name}]'" if missing else "")


def _print(facts: dict[str, str], backends: list[Check], extras: list[Check]) -> None:
    console = Console()
    console.print("  ".join(f"{name} {value}" for name, value in facts.items()), highlight=False)
    table = Table("", "what", "state", "to install", box=None)
    for check in (*backends, *extras):
        mark = "[green]✓[/]" if check.works else "[yellow]–[/]"
        table.add_row(mark, check.what, check.state.replace("[", r"\["), check.fix.replace("[", r"\["))
    console.print(table)
