"""How far two arrays are apart; the formulas are the runtime's, which needs them too."""

from __future__ import annotations

from ..runtime.compare import Difference, compare

__all__ = ["Difference", "compare"]
