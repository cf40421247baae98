"""The stage that embeds texts."""

from __future__ import annotations

TEXT = "text_encoder"

TEMPLATES = 80
"""CLIP's prompts for one name; more texts than that are not embedded at once."""
