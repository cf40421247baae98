"""trtexec: its command lines, and a script of them that needs nothing else."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path

from ...errors import EngineError
from ...stage.axes import with_ranges
from ...stage.contract import Range, StageContract, TensorSpec

COMPARABLE = ("--useCudaGraph", "--noDataTransfers", "--useSpinWait", "--separateProfileRun")
"""Version 11 has made these its defaults and still reads them: with all four, 10 and 11 time the same thing."""

BUILD = ("--stronglyTyped", "--noTF32")
"""Types are the graph's (version 10 must be told, version 11 ignores it); FP32 products are FP32's."""

KINDS = ("times", "profile", "layers")
"""The files that a run leaves: STAGE.PRECISION.KIND.json."""


def command(
    source: Path,
    contract: StageContract,
    ranges: Mapping[str, Range],
    sizes: Mapping[str, int],
    results: Mapping[str, Path],
    *,
    iterations: int,
    device: int = 0,
    program: str = "trtexec",
) -> list[str]:
    """The arguments that profile one stage.

    Args:
        source: its graph (`.onnx`), which trtexec then compiles, or its plan.
        contract: what it takes.
        ranges: sizes that the plan is built for.
        sizes: of the dynamic axes, for this run.
        results: where to leave each of `KINDS`.
        iterations: runs at least; trtexec runs for three seconds at least.
        device: which GPU.
        program: trtexec itself.
    """
    dynamic = [spec for spec in contract.inputs if spec.is_dynamic]
    arguments = [program, f"--device={device}"]
    if source.suffix == ".onnx":
        arguments += [f"--onnx={source}", *BUILD]
        steps = zip(("min", "opt", "max"), with_ranges(contract, ranges), strict=True)
        arguments += [f"--{step}Shapes={_shapes(dynamic, each)}" for step, each in steps if dynamic]
    else:
        arguments += [f"--loadEngine={source}"]
    if dynamic:
        arguments += [f"--shapes={_shapes(dynamic, sizes)}"]
    return [
        *arguments,
        *COMPARABLE,
        f"--iterations={iterations}",
        "--profilingVerbosity=detailed",
        f"--exportTimes={results['times']}",
        f"--exportProfile={results['profile']}",
        f"--exportLayerInfo={results['layers']}",
    ]


def result_paths(folder: Path, stage: str, precision: str) -> dict[str, Path]:
    """Where the files of a stage's run lie, by `KINDS`."""
    return {kind: folder / f"{stage}.{precision}.{kind}.json" for kind in KINDS}


def run(arguments: list[str], stage: str) -> None:
    """Run trtexec.

    Raises:
        EngineError: it cannot be started or fails, with the end of what it said.
    """
    try:
        done = subprocess.run(  # noqa: S603 (a list and no shell; the program is the user's --trtexec)
            arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
        )
    except OSError as error:
        raise EngineError(f"{stage}: {arguments[0]} cannot be started: {error}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip().splitlines()
        telling = [line for line in said if "[E]" in line or "Error" in line] or said
        raise EngineError(
            f"{stage}: trtexec ended with {done.returncode}: {' / '.join(telling[-3:]) or 'it said nothing'}. "
            f"The command was: {shlex.join(arguments)}"
        )


def script(commands: list[list[str]], folder: str) -> str:
    """A shell script of these commands, to be run in the bundle; `TRTEXEC` names trtexec where it is not on the PATH.

    Args:
        commands: with paths relative to the bundle.
        folder: for the results, relative to the bundle.
    """
    lines = [f'"$trtexec" {shlex.join(arguments[1:])}' for arguments in commands]
    return "\n".join(
        [
            "#!/bin/sh",
            "# Profiles every stage of this bundle. It needs trtexec alone, which comes with TensorRT (10 or 11).",
            "# Show the results with: ovdeploy profile --bundle BUNDLE --read",
            "set -eu",
            'cd -- "$(dirname -- "$0")"',
            'trtexec="${TRTEXEC:-trtexec}"',
            f"mkdir -p {shlex.quote(folder)}",
            *lines,
            "",
        ]
    )


def _shapes(specs: list[TensorSpec], sizes: Mapping[str, int]) -> str:
    return ",".join(f"{spec.name}:{'x'.join(map(str, spec.sized(sizes)))}" for spec in specs)
