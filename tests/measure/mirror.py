"""Recipes exported through `pretrained` at full size, from a mirror on the loopback with random weights.

    python tests/measure/mirror.py WORK [--stages A,B] [RECIPE …]

WORK gets the mirror's files (0.4 to 0.8 GB a recipe), the caches and the bundles. SAM's file is given a comment so that
its SHA-256 begins with the official tag's digits. Each first download of a file breaks off in the middle. The program,
and all that it starts, runs in a network namespace of its own, where nothing but the loopback is; where the system
allows none, Python's connections are listened to all the same. `dinov3` is `s2clip-b16` with DINOv3 ViT-S/16.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import os
import socket
import struct
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from support.mirror import Mirror, ground, run_heard, serving

DINOV3 = "vit_small_patch16_dinov3.lvd1689m"
NEW_NETWORK, NEW_USER = 0x40000000, 0x10000000
GET_FLAGS, SET_FLAGS, UP = 0x8913, 0x8914, 1

EXPORT = """
import sys, resource
from ovdeploy.export.commands import export_engines
try:
    export_engines(sys.argv[1:])
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10, "MB", file=sys.stderr)
"""


def alone() -> bool:
    """Leave the machine's networks for one that has the loopback alone; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(NEW_NETWORK) != 0 and libc.unshare(NEW_USER | NEW_NETWORK) != 0:
        return False
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        flags = struct.unpack("16sh", fcntl.ioctl(any_socket, GET_FLAGS, struct.pack("16sh", b"lo", 0)))[1]
        fcntl.ioctl(any_socket, SET_FLAGS, struct.pack("16sh", b"lo", flags | UP))
    return True


def recipe_file(name: str, work: Path) -> str:
    """A recipe of the package, or the path of the one with DINOv3."""
    from ovdeploy.runtime.boundary.shipped import RECIPES, shipped

    if name != "dinov3":
        return name
    path = work / "dinov3.toml"
    path.write_text(shipped(RECIPES)["s2clip-b16"].read_text().replace("vit_base_patch8_224.dino", DINOV3))
    return str(path.resolve())


def files_of(recipes: list[str], work: Path) -> dict[str, Path]:
    """The mirror's files for some recipes: random weights under the official names."""
    from ovdeploy.runtime.recipe.recipe import load_recipe
    from support.published import written

    wanted = {
        (role, choice.model, choice.pretrained) for name in recipes for role, choice in load_recipe(name).models.items()
    }
    files = {}
    for role, model, tag in sorted(wanted):
        started = time.monotonic()
        address, path, _ = written(role, model, tag, work)
        tries = ground(path, tag.rsplit("_", 1)[-1]) if role == "sam" else 0
        told = f", {tries} comments tried" if tries else ""
        print(f"{address}: {path.stat().st_size >> 20} MB{told}, {time.monotonic() - started:.0f} s", flush=True)
        files[address] = path
    return files


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("recipes", nargs="*", default=["trident-b16", "s2clip-b16", "dinov3"])
    parser.add_argument("--stages", help="export only these")
    arguments = parser.parse_args()
    print("a network with the loopback alone" if alone() else "no network namespace is allowed here", flush=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    recipes = [recipe_file(name, arguments.work) for name in arguments.recipes]
    files = files_of(recipes, arguments.work)
    with serving(Mirror(files, breaks=dict.fromkeys(files, 1))) as mirror:
        for recipe in recipes:
            name, started, before = Path(recipe).stem, time.monotonic(), len(mirror.log)
            options = ["--output", f"bundles/{name}", *(["--stages", arguments.stages] if arguments.stages else [])]
            done = run_heard(EXPORT, arguments.work.resolve(), recipe, *options, **mirror.environment)
            print(f"\n{name}: exit code {done.returncode}, {time.monotonic() - started:.0f} s", flush=True)
            print("\n".join(done.stderr.strip().splitlines()[-12:]), flush=True)
            print("\n".join(mirror.log[before:]), flush=True)
        print(f"\nasked of others: {mirror.elsewhere(arguments.work) or 'nothing'}", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
