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
        if left.code:
            raise
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


def test_recipes_are_exported_through_pretrained_and_broken_downloads_are_mended(mirror, tmp_path):
    mirror.breaks = {"dl.fbaipublicfiles.com": 1, DINO: 1}
    mirror.log.clear()
    done = run_heard(EXPORT, tmp_path, *recipes(tmp_path), **mirror.environment)
    assert done.returncode == 0, done.stderr[-3000:]
    by_name = {address.split("/")[2 if ".pth" not in address else 3]: d for address, d in mirror.digests.items()}
    for name, dino in (("trident", DINO), ("s2clip", DINO_8), ("dinov3", DINOV3)):
        provenance = json.loads((tmp_path / "made" / name / "bundle.json").read_text())["provenance"]
        came = {role: each["sha256"] for role, each in provenance.items()}
        sam, clip = by_name[f"{TAG}.pth"], by_name["vit_base_patch16_clip_224.openai"]
        assert came == {"clip": clip, "dino": by_name[dino], "sam": sam}
        assert provenance["sam"]["source"] == f"pretrained:{TAG}"
    for part, gone_on in (("dl.fbaipublicfiles.com", True), (DINO, False)):
        gets = [line for line in mirror.log if part in line and "GET" in line]
        # The hub's library writes pieces of 10 MB: of a smaller file it has nothing to go on from
        assert len(gets) == 2 and ("bytes=" in gets[1]) == gone_on
    assert sum("open_clip_model" in line and "GET" in line for line in mirror.log) == 1, (
        "one download for three exports"
    )
    assert mirror.elsewhere(tmp_path) == [], "no connection but to the mirror"


def test_downloads_that_fail_are_told_in_a_sentence(mirror, tmp_path):
    (recipe, *_) = recipes(tmp_path)
    mirror.breaks = {"dl.fbaipublicfiles.com": 99}
    done = run_heard(EXPORT, tmp_path, recipe, **mirror.environment)
    told = " ".join(done.stderr.split())
    assert (done.returncode != 0 and "Traceback" not in told.partition("During")[0]) or "broke off 3 times" in told
    assert "the same command goes on from there" in told
    mirror.breaks = {}
    assert not (tmp_path / "made").exists()
