"""A session without an engine, so that pipelines can be tested anywhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..stage.contract import StageContract
from .base import Session


class FakeSession(Session):
    """A session that calls a function, and remembers what it was fed.

    Example:
        >>> from ovdeploy.runtime.stage.contract import StageContract, TensorSpec
        >>> x = TensorSpec(name="x", dtype="float32", shape=("N",), layout="samples", range="any")
        >>> contract = StageContract(stage="head", inputs=(x,), outputs=(x,))
        >>> with FakeSession(contract, lambda feeds: {"x": 2 * feeds["x"]}) as session:
        ...     session.run({"x": np.ones(1, np.float32)})["x"].tolist()
        [2.0]
    """

    def __init__(
        self, contract: StageContract, function: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
    ) -> None:
        super().__init__(contract)
        self.function = function
        self.calls: list[dict[str, np.ndarray]] = []

    def _execute(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.calls.append(dict(feeds))
        return self.function(feeds)
