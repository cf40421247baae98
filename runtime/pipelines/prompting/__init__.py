"""Prompting: points, boxes and masks on a promptable model alone; no words, no CLIP."""
