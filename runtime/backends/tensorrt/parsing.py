"""A graph read by NVIDIA's ONNX parser."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from .library import Library, make_logger


class ParserMessage(NamedTuple):
    """One of the parser's errors."""

    what: str
    node: str
    """Its name; empty if the whole graph is meant."""
    operator: str
    number: int
    """Of the node in the graph; -1 if none."""

    def __str__(self) -> str:
        where = f" at node {self.number} {self.node} ({self.operator})" if self.number >= 0 else ""
        return f"{self.what}{where}"


class Parsed(NamedTuple):
    """A network, and what keeps it alive."""

    title: str
    """The library's."""
    trt: Any
    logger: Any
    builder: Any
    network: Any
    errors: tuple[ParserMessage, ...] | None
    """None if the parser took the graph; it may refuse one without a word."""


def parse_graph(library: Library, onnx: Path) -> Parsed:
    """Let a library's parser read a graph. No GPU is needed for TensorRT-RTX's.

    The network is strongly typed: types are those of the graph, with its quantisation, and the library chooses none.
    (The flag is needed by TensorRT 10 and the rule of 11.)

    Args:
        library: TensorRT or TensorRT-RTX.
        onnx: the graph, its external data beside it.

    Raises:
        MissingExtraError, EngineError: the library is not installed, or does not load here.
    """
    trt = library.load()
    logger = make_logger(trt)
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    errors = None
    if not parser.parse_from_file(str(onnx)):
        errors = tuple(_message(parser.get_error(index)) for index in range(parser.num_errors))
    return Parsed(library.title, trt, logger, builder, network, errors)


def _message(error: Any) -> ParserMessage:
    what = " ".join(error.desc().split())
    if error.node() < 0:
        return ParserMessage(what, "", "", -1)
    return ParserMessage(what, error.node_name(), error.node_operator(), error.node())
