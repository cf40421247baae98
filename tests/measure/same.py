"""Whether a change of the code changed an engine or a mask: two bundles node by node, and masks to the pixel.

    python tests/measure/same.py graphs OLD/tiny NEW/tiny
    python tests/measure/same.py masks OLD/tiny old.npz --photo coffee.jpg      (in the environment of before)
    python tests/measure/same.py masks NEW/tiny new.npz --photo coffee.jpg      (in that of now)
    python tests/measure/same.py compare old.npz new.npz

Graphs are equal if their nodes are, one by one and in order, with their attributes and the tensors that they name;
their inputs and outputs with types and shapes; and the values of their initializers as a multiset. Names of
initializers, metadata and doc strings do not count. Masks are those of drawn scenes and of photos, refined and coarse,
with fixed random embeddings, so that no text engine takes part.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections import Counter
from pathlib import Path

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    graphs = commands.add_parser("graphs", help="compare all graphs of two bundles")
    graphs.add_argument("old", type=Path)
    graphs.add_argument("new", type=Path)
    graphs.set_defaults(run=lambda given: compare_bundles(given.old, given.new))
    masks = commands.add_parser("masks", help="segment scenes and photos, and keep the masks")
    masks.add_argument("bundle", type=Path)
    masks.add_argument("output", type=Path)
    masks.add_argument("--photo", type=Path, action="append", default=[])
    masks.add_argument("--scenes", type=int, default=20)
    masks.add_argument("--backend", default="onnxruntime")
    masks.set_defaults(run=lambda given: keep_masks(given))
    compare = commands.add_parser("compare", help="compare masks that were kept")
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    compare.set_defaults(run=lambda given: compare_masks(given.old, given.new))
    given = parser.parse_args()
    sys.exit(0 if given.run(given) else 1)


def compare_bundles(old: Path, new: Path) -> bool:
    """Every graph of both."""
    names = sorted({path.name for folder in (old, new) for path in folder.glob("*.onnx")})
    same = [compare_graphs(old / name, new / name) for name in names]
    print(f"{sum(same)} of {len(names)} graphs are equal")
    return bool(names) and all(same)


def compare_graphs(old: Path, new: Path) -> bool:
    """One graph of both, with what differs first."""
    missing = [path for path in (old, new) if not path.is_file()]
    if missing:
        print(f"{old.name}: {missing[0]} is missing")
        return False
    if old.read_bytes() == new.read_bytes() and not old.with_name(f"{old.name}.data").is_file():
        print(f"{old.name}: equal to the byte")
        return True
    first, second = description(old), description(new)
    differing = [part for part in first if first[part] != second[part]]
    print(f"{old.name}: {'equal node by node' if not differing else 'differs in ' + ', '.join(differing)}")
    return not differing


def description(path: Path) -> dict[str, object]:
    """What counts of a graph, as plain values."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load(str(path))
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    digests = {name: digest(value) for name, value in weights.items()}

    def named(name: str) -> str:
        return digests.get(name, name)  # an initializer goes by its value

    nodes = [
        (
            node.op_type,
            node.domain,
            [named(name) for name in node.input],
            list(node.output),
            sorted(attribute.SerializeToString(deterministic=True) for attribute in node.attribute),
        )
        for node in graph.node
    ]
    return {
        "opsets": sorted((opset.domain, opset.version) for opset in model.opset_import),
        "nodes": nodes,
        "inputs": [(value.name, value.type.SerializeToString(deterministic=True)) for value in graph.input],
        "outputs": [(value.name, value.type.SerializeToString(deterministic=True)) for value in graph.output],
        "initializers": Counter(digests.values()),
    }


def digest(value: np.ndarray) -> str:
    """An array's type, shape and values."""
    told = f"{value.dtype} {value.shape} ".encode() + np.ascontiguousarray(value).tobytes()
    return hashlib.sha256(told).hexdigest()


def keep_masks(given: argparse.Namespace) -> bool:
    """Segment scenes that training never saw, and photos."""
    from ovdeploy.runtime import Segmenter, Vocabulary, load_photo
    from ovdeploy.runtime.scenes import FIRST_TEST_SEED, draw_scene

    photos = {f"scene {seed}": draw_scene(FIRST_TEST_SEED + seed).photo for seed in range(given.scenes)}
    photos |= {path.name: load_photo(path) for path in given.photo}
    kept = {}
    with Segmenter.load(given.bundle, backend=given.backend) as segmenter:
        rows = np.random.default_rng(0).standard_normal((8, segmenter.manifest.dimensions.embedding))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        vocabulary = Vocabulary([f"class {index}" for index in range(8)], rows)
        anything = {"region_threshold": 0.0, "min_area": 20, "iou_threshold": 0.0}
        for name, photo in photos.items():
            result = segmenter.segment(photo, vocabulary, parameters=anything)
            kept |= {f"{name}: refined": result.mask, f"{name}: coarse": result.coarse_mask}
            kept[f"{name}: regions"] = np.array([len(result.regions), sum(r.refined for r in result.regions)])
    np.savez_compressed(given.output, **kept)
    print(f"{len(photos)} photos, {sum(int(v[0]) for k, v in kept.items() if k.endswith('regions'))} regions")
    return True


def compare_masks(old: Path, new: Path) -> bool:
    """Masks to the pixel."""
    with np.load(old) as first, np.load(new) as second:
        names = sorted({*first.files, *second.files})
        differing = [n for n in names if n not in first or n not in second or not np.array_equal(first[n], second[n])]
    for name in differing:
        print(f"{name}: differs")
    print(f"{len(names) - len(differing)} of {len(names)} arrays are equal")
    return bool(names) and not differing


if __name__ == "__main__":
    main()
