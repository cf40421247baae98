"""Islands: which nodes stay FP32 in a half graph.

The classes are those that are reported to go wrong on GPUs, and five more that measurements asked for: coordinates,
thresholds, choices, outputs, and constants too small for half that guard a division. They are found in the graph's
structure, so that they hold for every model.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

import msgspec
import tomli_w
from onnx import ModelProto, NodeProto

from ..errors import RecipeError, one_of
from ..files import write_bytes
from ..toml import read_toml
from .model import MOVEMENT, View, words
from .patterns import NORMS, affine_after, ancestors, decomposed_norms, masked_norms
from .weights import SMALLEST_NORMAL

CHEAP = MOVEMENT | words("Abs Add And Cast Clip Div Max Min Mul Neg Not Or Pow Sqrt Sub Where")
REDUCTIONS = words("ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum")
PRODUCTS = ("MatMul", "Gemm", "Einsum")
WEIGHTED = (*PRODUCTS, "Conv", "ConvTranspose")
WHOLE = 1 << 16
"""Nodes of a cone that is never given up."""
COMPARISONS = ("Greater", "GreaterOrEqual", "Less", "LessOrEqual")


class StageIslands(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The islands of one stage."""

    classes: tuple[str, ...] = ()
    """Of `CLASSES`."""
    nodes: tuple[str, ...] = ()
    """Single nodes by name."""
    blocks: tuple[str, ...] = ()
    """Whole blocks by the path of their weights, such as `encoder.blocks.3`."""


class IslandRecipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Islands of all stages; kept in the bundle as `islands.PRECISION.toml` and taken by `--islands FILE`."""

    precision: str = "fp16"
    stages: dict[str, StageIslands] = msgspec.field(default_factory=dict)

    def of(self, stage: str) -> StageIslands:
        """A stage's islands; none if it is not mentioned."""
        return self.stages.get(stage, StageIslands())


def read_islands(path: Path) -> IslandRecipe:
    """Read an island recipe.

    Raises:
        RecipeError: missing, not TOML, or with keys and values that do not belong there.
    """
    found = read_toml(path, RecipeError, "the file of islands")
    try:
        recipe = msgspec.convert(found, IslandRecipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{path} is not a file of islands: {error}") from error
    for stage in recipe.stages.values():
        for name in stage.classes:
            if name not in CLASSES:
                raise RecipeError(f"{path}: {one_of('class of islands', name, CLASSES)}")
    return recipe


def write_islands(path: Path, recipe: IslandRecipe) -> None:
    """Write an island recipe as TOML."""
    data = msgspec.to_builtins(recipe)
    stages = {name: {key: value for key, value in stage.items() if value} for name, stage in data["stages"].items()}
    write_bytes(path, tomli_w.dumps({"precision": recipe.precision, "stages": stages}).encode())


def island_nodes(model: ModelProto, islands: StageIslands) -> set[str]:
    """Names of the nodes that a stage's islands mean.

    Raises:
        RecipeError: a node or block is not in the graph.
    """
    view = View(model)
    found = {name for kind in islands.classes for name in CLASSES[kind](view)}
    of_block = node_blocks(model)
    for what, names, there in (("node", islands.nodes, view.nodes), ("block", islands.blocks, set(of_block.values()))):
        for name in names:
            if name not in there:
                raise RecipeError(f"{one_of(f'{what} in the islands', name, there)[:400]} Find the islands again.")
    blocks = set(islands.blocks)
    return found | set(islands.nodes) | {node for node, block in of_block.items() if block in blocks}


def node_blocks(model: ModelProto) -> dict[str, str]:
    """The block of every node: the latest one whose weights it depends on.

    A block is the path of a weight's module up to its first number (`encoder.blocks.3`), or without its last part.
    """
    view = View(model)
    order: dict[str, int] = {}
    latest: dict[str, str] = {}
    blocks: dict[str, str] = {}
    for node in model.graph.node:
        own = [block for name in node.input if name in view.initializers and (block := _block_of(name))]
        for block in own:
            order.setdefault(block, len(order))
        before = [latest[name] for name in node.input if name in latest]
        block = max([*own, *before], key=lambda name: order[name], default="")
        if block:
            blocks[node.name] = block
            latest.update(dict.fromkeys(node.output, block))
    return blocks


def _block_of(weight: str) -> str:
    parts = weight.split(".")
    digit = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: digit + 1] if digit is not None else parts[:-1])


def _layer_norms(view: View) -> set[str]:
    found = {name for name, node in view.nodes.items() if node.op_type in NORMS}
    for norm in decomposed_norms(view):
        found |= {node.name for node in (*norm.nodes, *affine_after(norm.result, view))}
    return found.union(*masked_norms(view))


def _l2_norms(view: View) -> set[str]:
    """Lengths, what is done to them, and the divisions by them."""
    lengths = [node for node in view.nodes.values() if node.op_type in ("ReduceL2", "LpNormalization")]
    for node in view.nodes.values():
        squares = view.source(node.input[0]) if node.op_type == "Sqrt" else None
        if squares is not None and squares.op_type in ("ReduceSum", "ReduceSumSquare"):
            lengths += [node, squares]
            square = view.source(squares.input[0])
            lengths += [square] if square is not None and square.op_type in ("Mul", "Pow") else []
    found = {node.name for node in lengths}
    ahead = list(lengths)
    while ahead:
        for reader in view.readers(ahead.pop().output[0]):
            if reader.op_type in ("Clip", "Max", "Add", "Sqrt", "Div") and reader.name not in found:
                found.add(reader.name)
                ahead += [reader] if reader.op_type != "Div" else []
    return found


def _guards(view: View) -> set[str]:
    """Sums and bounds with a constant too small for half precision, the sums that it guards, and the divisions by them.

    In half the constant would vanish, and with it what it is there for.
    """
    found: set[str] = set()
    for node in view.nodes.values():
        if node.op_type not in ("Add", "Max", "Clip") or not any(_is_tiny(name, view) for name in node.input):
            continue
        guarded = (view.source(name) for name in node.input)
        found |= {node.name, *(maker.name for maker in guarded if maker is not None and maker.op_type in REDUCTIONS)}
        found |= {r.name for r in view.readers(node.output[0]) if r.op_type in ("Div", "Pow", "Reciprocal", "Sqrt")}
    return found


def _is_tiny(name: str, view: View) -> bool:
    constant = view.scalar(name)
    return constant is not None and 0 < abs(constant) < SMALLEST_NORMAL["fp16"]


def _softmaxes(view: View) -> set[str]:
    found = {name for name, node in view.nodes.items() if node.op_type in ("Softmax", "LogSoftmax")}
    for node in view.nodes.values():
        if node.op_type == "Exp":
            readers = list(view.readers(node.output[0]))
            if any(reader.op_type == "ReduceSum" for reader in readers):
                found |= {node.name, *(r.name for r in readers if r.op_type in ("ReduceSum", "Div"))}
    return found


def _exponentials(view: View) -> set[str]:
    """Exponentials and logarithms, and what is scaled by them."""
    found: set[str] = set()
    for node in view.nodes.values():
        if node.op_type in ("Exp", "Log"):
            found |= {node.name, *(r.name for r in view.readers(node.output[0]) if r.op_type in ("Mul", "Div"))}
    return found


def _relative_positions(view: View) -> set[str]:
    """Additions to attention scores of terms that are computed, as SAM's relative positions are."""
    found: set[str] = set()
    for node in view.nodes.values():
        ahead = [node.input[0]] if node.op_type == "Softmax" else []
        while ahead:
            maker = view.source(ahead.pop())
            if maker is not None and maker.op_type == "Add" and _all_computed(maker, view):
                found.add(maker.name)
                ahead += maker.input
    return found


def _position_encodings(view: View) -> set[str]:
    """Sines and cosines of coordinates, with all that leads to them: half has 11 bits, a coordinate needs more."""
    waves = [node for node in view.nodes.values() if node.op_type in ("Sin", "Cos")]
    return {name for node in waves for name in ancestors(node, view)}


def _thresholds(view: View) -> set[str]:
    """Comparisons, and the similarities that are compared: what rounding throws to the other side is wrong by all."""
    found: set[str] = set()
    for node in view.nodes.values():
        if node.op_type in COMPARISONS:
            cone = ancestors(node, view, CHEAP | REDUCTIONS)
            found |= cone
            for name in cone:
                makers = (view.producer.get(value) for value in view.nodes[name].input)
                found |= {m.name for m in makers if m is not None and _is_similarity(m, view)}
    return found


def _choices(view: View) -> set[str]:
    """Which is the largest or the smallest, with what is compared: rounded to half, many are equal, or endless."""
    ways = CHEAP | REDUCTIONS | words("Exp Gather GatherND MatMul")
    chosen = [node for node in view.nodes.values() if node.op_type in ("ArgMax", "ArgMin")]
    return {name for node in chosen for name in ancestors(node, view, ways, WHOLE)}


def _outputs(view: View) -> set[str]:
    """Nodes that make the graph's outputs, but for products with weights.

    Outputs are float32 in any case. Rounded to half, logits have equal neighbours, and which of equals is the largest
    decides a region's prompt.
    """
    makers = (view.source(name) or view.producer.get(name) for name in view.outputs)
    return {
        maker.name
        for maker in makers
        if maker is not None and (maker.op_type not in WEIGHTED or _is_similarity(maker, view))
    }


def _is_similarity(node: NodeProto, view: View) -> bool:
    return node.op_type in PRODUCTS and _all_computed(node, view)


def _all_computed(node: NodeProto, view: View) -> bool:
    return all(view.constant(name) is None for name in node.input)


CLASSES: dict[str, Callable[[View], set[str]]] = {
    "layer_norm": _layer_norms,
    "l2_norm": _l2_norms,
    "guard": _guards,
    "softmax": _softmaxes,
    "exponential": _exponentials,
    "relative_position": _relative_positions,
    "position_encoding": _position_encodings,
    "threshold": _thresholds,
    "choice": _choices,
    "output": _outputs,
}
"""By name, in the order in which the search tries them for a stage; for the masks it is the other way round."""

STANDARD = StageIslands(classes=tuple(CLASSES))
"""Islands that stay FP32 unless others are asked for."""


def describe(islands: StageIslands, names: Collection[str]) -> str:
    """One line about a stage's islands and the nodes they mean."""
    classes = ("the usual",) if islands.classes == STANDARD.classes else islands.classes
    single = (f"{len(islands.nodes)} single nodes",) if islands.nodes else ()
    parts = (*classes, *islands.blocks, *single)
    return f"{len(names)} nodes in FP32 ({', '.join(parts)})" if parts else "no islands"
