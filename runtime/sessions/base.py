"""What a session is. A backend implements `_execute`; checking is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType

import numpy as np

from ..contract import StageContract
from ..errors import EngineError


class Session(ABC):
    """One loaded engine. A context manager; closing twice does nothing."""

    def __init__(self, contract: StageContract) -> None:
        self.contract = contract
        self._closed = False

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine once.

        Args:
            feeds: an array for every input of the contract.

        Returns:
            An array for every output of the contract.

        Raises:
            EngineError: the session is closed, the feeds do not fit, the engine fails, or an output is missing or not
                finite.
        """
        outputs = self.run_unchecked(feeds)
        self.contract.check_outputs(outputs)
        return outputs

    def run_unchecked(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine once, for those who look for NaN and infinity themselves.

        Raises:
            EngineError: the session is closed, the feeds do not fit, or the engine fails.
        """
        if self._closed:
            raise EngineError(f"the {self.contract.stage} engine is closed; open it again")
        self.contract.check_feeds(feeds)
        try:
            return self._execute(feeds)
        except Exception as error:
            raise EngineError(f"the {self.contract.stage} engine failed: {error}") from error

    @abstractmethod
    def _execute(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run the engine on feeds that fit the contract."""

    def close(self) -> None:
        """Free what the engine holds."""
        self._closed = True

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
