"""The way of published weights, end to end: recipes of the package, a mirror in the place of the hub and the release.

The models are small, their names, addresses and loaders the true ones. At full size: `tests/measure/mirror.py`.
"""

from __future__ import annotations

import json
import re

import pytest

from ovdeploy.runtime.boundary.shipped import RECIPES, shipped
from support.mirror import Mirror, ground, run_heard, serving

OFFICIAL, DIGITS = "sam_vit_b_01ec64", "5a"
TAG = f"sam_vit_b_{DIGITS}"
"""The official tag ends in the first digits of its file's hash, which a file of random weights has not."""

DINO, DINO_8, DINOV3 = "vit_base_patch16_224.dino", "vit_base_patch8_224.dino", "vit_small_patch16_dinov3.lvd1689m"

PREPARE = """
import json, sys
from pathlib import Path
from support.shrunk import shrink
from support.published import written
shrink(Path("configuration"))
asked = json.loads(sys.argv[1])
print("WRITTEN", json.dumps([[a, str(p), d] for a, p, d in (written(*each, Path(".")) for each in asked)]))
"""

EXPORT = """
import sys
from pathlib import Path
from support.shrunk import shrink
shrink(Path("configuration"))
from ovdeploy.export.commands import export_engines
for recipe in sys.argv[1:]:
    try:
        export_engines([recipe, "--stages", "head", "--output", f"made/{Path(recipe).stem}"])
    except SystemExit as left:
        print("ENDED", recipe, left.code, flush=True)
"""


def recipes(folder):
    """Three recipes of the package, with the tag of the mirror's SAM; one of them with DINOv3."""
    texts = {name: shipped(RECIPES)[f"{name}-b16"].read_text() for name in ("trident", "s2clip")}
    texts["dinov3"] = texts["s2clip"].replace(DINO_8, DINOV3)
    for name, text in texts.items():
        (folder / f"{name}.toml").write_text(text.replace(OFFICIAL, TAG))
    return [f"{name}.toml" for name in texts]


@pytest.fixture(scope="module")
def mirror(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mirror")
    asked = [
        ("clip", "ViT-B-16-quickgelu", "openai"), ("sam", "vit_b", TAG),
        *(("dino", name, "timm") for name in (DINO, DINO_8, DINOV3)),
    ]  # fmt: skip
    done = run_heard(PREPARE, folder, json.dumps(asked))
    assert done.returncode == 0, done.stderr
    rows = json.loads(re.search(r"WRITTEN (.*)", done.stdout)[1])
    files = {address: folder / path for address, path, _ in rows}
    ground(next(path for address, path in files.items() if address.endswith(".pth")), DIGITS)
    with serving(Mirror(files)) as served:
        served.digests = {address: digest for address, _, digest in rows}
        yield served


@pytest.fixture(scope="module")
def exported(mirror, tmp_path_factory):
    """Three recipes exported in one process, the first twice: SAM's download breaks off four times."""
    folder = tmp_path_factory.mktemp("exported")
    names = recipes(folder)
    mirror.breaks = {"dl.fbaipublicfiles.com": 4, DINO: 1}
    done = run_heard(EXPORT, folder, names[0], *names, **mirror.environment)
    return folder, done


def test_a_download_that_breaks_off_again_and_again_is_told_in_a_sentence(exported):
    _, done = exported
    told = " ".join(done.stderr.split())
    assert done.stdout.splitlines()[0] == "ENDED trident.toml 1" and "Traceback" not in told
    assert "broke off 3 times" in told and "the same command goes on from there" in told


def test_recipes_are_exported_through_pretrained(mirror, exported):
    folder, done = exported
    ended = [line for line in done.stdout.splitlines() if line.startswith("ENDED")]
    assert ended[1:] == [f"ENDED {name}.toml 0" for name in ("trident", "s2clip", "dinov3")], done.stderr[-3000:]
    by_name = {address.split("/")[2 if ".pth" not in address else 3]: d for address, d in mirror.digests.items()}
    for name, dino in (("trident", DINO), ("s2clip", DINO_8), ("dinov3", DINOV3)):
        provenance = json.loads((folder / "made" / name / "bundle.json").read_text())["provenance"]
        came = {role: each["sha256"] for role, each in provenance.items()}
        sam, clip = by_name[f"{TAG}.pth"], by_name["vit_base_patch16_clip_224.openai"]
        assert came == {"clip": clip, "dino": by_name[dino], "sam": sam}
        assert provenance["sam"]["source"] == f"pretrained:{TAG}"


def test_downloads_go_on_where_they_broke_off_and_are_not_repeated(mirror, exported):
    gets = {
        part: [line for line in mirror.log if part in line and "GET" in line] for part in (".pth", DINO, "open_clip")
    }
    assert ["bytes=" in line for line in gets[".pth"]] == [False, True, True, True, True]
    # The hub's library writes pieces of 10 MB: of a smaller file it has nothing to go on from
    assert len(gets[DINO]) == 2
    assert len(gets["open_clip"]) == 1, "once for four exports"


def test_nobody_but_the_mirror_was_asked(mirror, exported):
    assert mirror.elsewhere(exported[0]) == []
