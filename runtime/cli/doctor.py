"""`ovdeploy doctor`: what is installed, what works here, and the line that installs what is missing."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import click
import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from ..backends.cpu import this_processor
from ..backends.registry import BACKENDS, no_wheel, open_session
from ..errors import EngineError, OvdeployError
from ..stage.contract import StageContract, TensorSpec
from ..stage.precision import FP32
from .failing import fail_cleanly

EXTRAS = {
    "graph": ("onnx",),
    "export": ("torch", "torchvision", "open_clip_torch", "segment-anything", "timm", "safetensors", "onnx",
               "onnxscript", "onnxslim"),
}  # fmt: skip
"""Packages that the optional parts beside the backends need, by extra."""


SOFTSIGN = bytes.fromhex(
    "08093a370a100a01781201792208536f66747369676e1201675a0f0a0178120a"
    "0a08080112040a020801620f0a0179120a0a08080112040a02080142040a001014"
)
"""A graph as small as any that computes: y = x / (1 + |x|), float32 [1], opset 20. (Writing one would need the onnx
package. And y = x would ask for what nobody needs: OpenVINO before 2025.4 gives what lies in the output's memory.)"""

ONE = TensorSpec(name="x", dtype="float32", shape=(1,), layout="one number", range="any")
SOFTSIGN_CONTRACT = StageContract(stage="softsign", inputs=(ONE,), outputs=(msgspec.structs.replace(ONE, name="y"),))


NAMES = {
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt_rtx_bindings": ("tensorrt-rtx-cu13-bindings", "tensorrt-rtx-cu12-bindings"),
}
"""Distributions that bring a package of another name."""


class Check(NamedTuple):
    """One line of the report."""

    what: str
    state: str
    works: bool
    fix: str


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@fail_cleanly
def doctor(as_json: bool) -> None:
    """Tell what is installed, which backends work here, and how to install what is missing.

    The exit code is 0 if at least one backend works, else 1.
    """
    backends = [backend_check(name) for name in BACKENDS]
    extras = [_extra(name, packages) for name, packages in EXTRAS.items()]
    facts = {
        "ovdeploy": version("ovdeploy"),
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **_facts(),
    }
    if as_json:
        report: dict[str, Any] = {**facts, "checks": [check._asdict() for check in (*backends, *extras)]}
        click.echo(msgspec.json.encode(report).decode())
    else:
        _print(facts, backends, extras)
    sys.exit(0 if any(check.works for check in backends) else 1)


def backend_check(name: str) -> Check:
    """Whether a backend runs, tried on the smallest graph there is."""
    backend = BACKENDS[name]
    install = f"pip install 'ovdeploy[{backend.extra}]'"
    found = _found(backend.package)
    if not found:
        return Check(f"backend {name}", no_wheel(name).partition(".")[0] or "not installed", False,
                     "" if no_wheel(name) else install)  # fmt: skip
    if backend.engine == "plan":
        return _plan_backend(name, found, install)
    one = np.ones(1, np.float32)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "softsign.onnx"
            path.write_bytes(SOFTSIGN)
            with open_session(path, SOFTSIGN_CONTRACT, name) as session:
                works = bool(session.run({"x": one})["y"].item() == 0.5)
    except EngineError as error:  # a provider that this package does not have, or that does not start
        first = "pip uninstall onnxruntime; " if backend.extra == "gpu" else ""
        return Check(f"backend {name}", f"{found}: {_sentence(error)}", False, first + install)
    except Exception as error:  # a broken wheel can raise anything; the doctor reports it
        return Check(f"backend {name}", f"{found} does not work: {error}", False, f"reinstall: {install}")
    return Check(f"backend {name}", f"{found}, runs" if works else f"{found}, computes wrongly", works, "")


def _plan_backend(name: str, found: str, install: str) -> Check:
    """Whether the bindings, cuda-python, a driver and a GPU are there, and what can be done without them."""
    from ..backends.tensorrt.libraries import LIBRARIES
    from ..backends.tensorrt.options import PlanOptions

    library = LIBRARIES[name]
    try:
        here = library.here(0)
    except Exception as error:  # a broken wheel can raise anything
        able = "builds plans; " if library.anywhere and _works(library.builds_here, PlanOptions(), 0) else ""
        return Check(f"backend {name}", f"{found}: {able}{_sentence(error)}", False, "" if able else install)
    return Check(f"backend {name}", f"{found}, {here.gpu} ({here.compute_capability})", True, "")


def _works(function: Callable[..., object], *arguments: object) -> bool:
    try:
        function(*arguments)
    except Exception:
        return False
    return True


def _sentence(error: Exception) -> str:
    """The first sentence of an error: the report has a column for what to do."""
    return str(error).split(". ")[0]


def _facts() -> dict[str, str]:
    """Facts about all but Python: processor, driver (as cuda-python sees it), what ONNX Runtime and OpenVINO can."""
    processor = this_processor()
    facts = {
        "instructions": processor.shown or "none that are known here",
        "--precision auto": f"the first of {', '.join((*processor.native, FP32))} that the bundle and the backend have",
    }
    try:
        facts["GPU"] = _gpu()
    except OvdeployError as error:
        facts["GPU"] = str(error)
    try:
        import onnxruntime

        facts["ONNX Runtime's providers"] = ", ".join(onnxruntime.get_available_providers())
    except Exception:
        facts["ONNX Runtime's providers"] = "none"
    try:
        from ..backends.openvino.session import capabilities

        facts["OpenVINO computes in"] = ", ".join(capabilities())
    except Exception:
        facts["OpenVINO computes in"] = "nothing"
    return facts


def _gpu() -> str:
    from ..backends.tensorrt.cuda import Cuda

    cuda = Cuda()
    cuda.close()
    return f"{cuda.name} ({'.'.join(map(str, cuda.capability))})"


def _found(package: str) -> str:
    """The version of a package that goes by several names; empty without it."""
    for name in NAMES.get(package, (package,)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return ""


def _extra(name: str, packages: tuple[str, ...]) -> Check:
    missing = []
    for package in packages:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    state = f"missing: {', '.join(missing)}" if missing else "installed"
    purpose = {
        "graph": "lint, and counting precisions in graphs",
        "export": "export-engines and parity (build box)",
    }[name]
    return Check(purpose, state, not missing, f"pip install 'ovdeploy[{name}]'" if missing else "")


def _print(facts: dict[str, str], backends: list[Check], extras: list[Check]) -> None:
    console = Console()
    for name, value in facts.items():
        console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)
    table = Table("", "what", "state", "to install", box=None)
    for check in (*backends, *extras):
        mark = "[green]✓[/]" if check.works else "[yellow]–[/]"
        table.add_row(mark, check.what, check.state.replace("[", r"\["), check.fix.replace("[", r"\["))
    console.print(table)
