"""Keep a vocabulary in a file, and segment with a bundle that has no text engine.

Run it as `python docs/examples/keep_vocabulary.py [BUNDLE]`.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from ovdeploy.runtime import Segmenter, Vocabulary
from ovdeploy.runtime.scenes import draw_scene

OUTPUT = Path("ovdeploy-out")
CLASSES = ["green striped", "green dotted", "black plain", "blue plain", "sky", "wood; planks", "sand; beach"]


def main(bundle: str = "demo/tiny") -> None:
    """Embed the words on one machine, and use them on another that cannot."""
    OUTPUT.mkdir(exist_ok=True)
    words = OUTPUT / "words.npz"
    scene = draw_scene(seed=1_000_004)

    with Segmenter.load(bundle) as segmenter:  # a machine with the whole bundle
        vocabulary = segmenter.vocabulary(CLASSES)
        vocabulary.save(words)
        expected = segmenter.segment(scene.photo, vocabulary).mask

    with tempfile.TemporaryDirectory() as folder:  # stands for the other machine
        smaller = Path(folder) / "bundle"
        shutil.copytree(bundle, smaller, ignore=shutil.ignore_patterns("text_encoder*"))
        with Segmenter.load(smaller) as segmenter:
            mask = segmenter.segment(scene.photo, Vocabulary.load(words)).mask

    print(f"{words}: {len(vocabulary)} classes, {len(vocabulary.embeddings)} embeddings")
    print(f"equal masks with and without the text engine: {bool((mask == expected).all())}")


if __name__ == "__main__":
    main(*sys.argv[1:2])
