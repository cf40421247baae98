"""Telemetry of the libraries that we load: off before they are imported, unless the user asks for it.

Two inference engines report to their makers when nobody asked them to. ONNX Runtime from 1.32 on sends events to
Microsoft from a native thread, and keeps a device id and a database in the cache folder; OpenVINO sends an event to
Google Analytics from a child process as soon as it is imported, and keeps a client id in the home folder. A box that
segments photos has no reason to call anybody.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ASKED = "OVDEPLOY_TELEMETRY"
"""With this variable set to 1 the libraries are left as they come."""

SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",  # read when the library is loaded; the function of its API comes too late
    "HF_HUB_DISABLE_TELEMETRY": "1",
}
"""Variables by which libraries are told; one that the user has set stays."""

OPENVINO_REPORTER = "openvino_telemetry"
"""OpenVINO's package for it. It has no switch, but OpenVINO does without it where it is not installed."""


def switch_off() -> None:
    """Set the libraries' own switches, for this process and its children."""
    if not asked_for():
        for name, value in SWITCHES.items():
            os.environ.setdefault(name, value)


def asked_for() -> bool:
    """Whether the user wants the libraries' telemetry."""
    return os.environ.get(ASKED) == "1"


@contextmanager
def without_openvinos() -> Iterator[None]:
    """While this holds, OpenVINO is imported as if its telemetry were not installed.

    Where the telemetry was imported before, by the user's own code, it stays.
    """
    if asked_for() or OPENVINO_REPORTER in sys.modules:
        yield
        return
    sys.modules[OPENVINO_REPORTER] = None  # type: ignore[assignment]  # which is how Python knows what is not there
    try:
        yield
    finally:
        del sys.modules[OPENVINO_REPORTER]
