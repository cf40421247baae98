"""What long work tells while it runs: one signature, whoever works and whoever shows it."""

from __future__ import annotations

from typing import Protocol


class Reporter(Protocol):
    """Is told what goes on. Commands show it, tests write it down; with `about` given by `partial` it is one too."""

    def __call__(self, event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
        """Take note of an event.

        Args:
            event: what happens, in words for people. Nothing is decided by them.
            about: what it happens to: a stage, or "pipeline"; empty for the work as a whole.
            share: how much of it is done, 0 to 1; None if nobody knows.
            lasting: whether it is a result, to be kept in sight, and not merely what goes on now.
        """


def silent(event: str, *, about: str = "", share: float | None = None, lasting: bool = False) -> None:
    """A reporter that tells nobody."""
