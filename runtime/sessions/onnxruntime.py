"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..contract import StageContract
from ..errors import BundleError, MissingExtraError
from .base import Session

PROVIDERS = ["CPUExecutionProvider"]


class OnnxRuntimeSession(Session):
    """An ONNX graph run by ONNX Runtime's CPU provider, with all graph optimisations."""

    def __init__(
        self,
        path: Path,
        contract: StageContract,
        threads: int | None = None,
        *,
        in_order: bool = False,
        arena: bool = True,
    ) -> None:
        """Load the graph.

        Args:
            path: the `.onnx` file, already verified.
            contract: what the bundle says it takes and gives.
            threads: threads within an operator; None leaves the choice to ONNX Runtime.
            in_order: run the nodes in the file's order, so that a value is freed behind the nodes that stand after it;
                ONNX Runtime's own order is by outputs, and keeps what many small outputs are made from.
            arena: keep freed memory for the next run; without it peaks are lower.

        Raises:
            MissingExtraError: onnxruntime is not installed.
            BundleError: not a graph that ONNX Runtime can load, or not the contract's inputs and outputs.
        """
        super().__init__(contract)
        try:
            import onnxruntime as ort
        except ImportError as error:
            raise MissingExtraError("onnxruntime", "cpu", "running ONNX engines") from error
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.enable_mem_pattern = False  # SAM's encoder takes 4.1 GB instead of 7.2, and no longer
        options.log_severity_level = 3
        options.enable_cpu_mem_arena = arena
        if in_order:
            options.execution_order = ort.ExecutionOrder.PRIORITY_BASED
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # fusing renumbers nodes
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = ort.InferenceSession(str(path), options, providers=PROVIDERS)
        except Exception as error:
            raise BundleError(f"ONNX Runtime cannot load {path}: {error}") from error
        inputs, outputs = (
            sorted(value.name for value in values)
            for values in (self._session.get_inputs(), self._session.get_outputs())
        )
        for what, names, expected in (
            ("takes", inputs, contract.input_names),
            ("gives", outputs, contract.output_names),
        ):
            if names != sorted(expected):
                raise BundleError(f"{path} {what} {names}, its contract says {sorted(expected)}")

    def _execute(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = list(self.contract.output_names)
        return dict(zip(names, self._session.run(names, dict(feeds)), strict=True))

    def close(self) -> None:
        """Free the graph and its memory arena."""
        super().close()
        self._session = None
