"""Detectors: models that find boxes of words."""
