"""Photos: read, checked, and drawn over."""

from __future__ import annotations

from .reading import SUFFIXES as SUFFIXES
from .reading import as_photo as as_photo
from .reading import demo_photo as demo_photo
from .reading import load_photo as load_photo
from .reading import resize as resize
