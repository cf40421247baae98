"""Trials that went well on this machine, each a small file in the cache. What is damaged counts as never tried."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from ..files import cache_root
from ..kept.form import Form

FOLDER = "trials"
FORM = Form("trial", 1, most=0)
"""All that a file says is that there is one: its head holds what the trial's outcome holds for."""


def recall(facts: Mapping[str, str]) -> bool:
    """Whether a trial of exactly these facts is known to have gone well."""
    return FORM.read(_place(facts), _key(facts)) is not None


def remember(facts: Mapping[str, str]) -> None:
    """Keep that a trial went well; where nothing can be written it is tried again next time."""
    FORM.write(_place(facts), _key(facts), quiet=True)


def _place(facts: Mapping[str, str]) -> Path:
    return cache_root() / FOLDER / hashlib.sha256(_key(facts).encode()).hexdigest()


def _key(facts: Mapping[str, str]) -> str:
    return msgspec.json.encode(dict(facts), order="sorted").decode()
