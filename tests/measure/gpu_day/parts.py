"""What a bare machine lacks, as wheels in parts that fit one transfer each, for a machine without a network.

    python tests/measure/gpu_day/parts.py .gpu      (on a machine with a registry; writes .gpu/part1, .gpu/part2)

The other machine is x86-64 Linux with Python 3.12, PyTorch, timm, onnx, onnxscript, onnxruntime, OpenCV, cuda-bindings
and the packages under them. What else we need is here: this package itself, TensorRT-RTX, open_clip, segment_anything
and small ones. Files too large for one part are cut; `start.sh` joins them again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PYTHON = "3.12"
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in (39, 35, 34, 31, 28, 27, 24, 17)]
PLATFORMS += ["manylinux2014_x86_64", "manylinux1_x86_64", "any"]
NEEDED = (
    *("msgspec", "tomli-w", "ftfy", "wcwidth", "open_clip_torch", "segment-anything", "onnxslim"),
    *("tensorrt-rtx-cu13-libs", "tensorrt-rtx-cu13-bindings", "onnxruntime-gpu"),
)
PIECE = 12 << 20
"""Bytes of a cut file's pieces."""
MOST = 51 << 20
"""Bytes of a part, so that with the tree it stays below 64 MiB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--without", nargs="*", default=[], help="packages to leave out (what the card cannot use)")
    given = parser.parse_args()
    folder = given.folder
    shutil.rmtree(folder, ignore_errors=True)
    wheels = folder / "wheels"
    wheels.mkdir(parents=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", wheels, ROOT], check=True)
    for name in sorted({*NEEDED} - {*given.without}):
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        target = ["--python-version", PYTHON, "--implementation", "cp", *platforms, "--only-binary=:all:"]
        wanted = f"{name}=={version(name)}" if installed(name) else name
        subprocess.run([*pip, "download", "--quiet", "--no-deps", *target, "--dest", wheels, wanted], check=True)
    parts = deal([piece for wheel in sorted(wheels.iterdir()) for piece in pieces(wheel)])
    for number, files in enumerate(parts, start=1):
        part = folder / f"part{number}"
        part.mkdir()
        for file in files:
            file.rename(part / file.name)
        size = sum(file.stat().st_size for file in part.iterdir())
        print(f"{part}: {size / (1 << 20):.1f} MiB in {len(files)} files")
        for file in sorted(part.iterdir()):
            print(f"    {file.stat().st_size / 1e6:7.2f} MB  {file.name}")
    shutil.rmtree(wheels)


def installed(name: str) -> bool:
    try:
        version(name)
    except Exception:
        return False
    return True


def pieces(file: Path) -> list[Path]:
    """A file, or its pieces in its place: `NAME.00`, `NAME.01`, …"""
    data = file.read_bytes()
    if len(data) <= PIECE:
        return [file]
    made = []
    for number, start in enumerate(range(0, len(data), PIECE)):
        piece = file.with_name(f"{file.name}.{number:02}")
        piece.write_bytes(data[start : start + PIECE])
        made.append(piece)
    file.unlink()
    return made


def deal(files: list[Path]) -> list[list[Path]]:
    """Files in as few parts as hold them, the largest first."""
    parts: list[list[Path]] = []
    for file in sorted(files, key=lambda file: -file.stat().st_size):
        for part in parts:
            if sum(other.stat().st_size for other in part) + file.stat().st_size <= MOST:
                part.append(file)
                break
        else:
            parts.append([file])
    return parts


if __name__ == "__main__":
    main()
