"""Engines against PyTorch: stage by stage, the whole pipeline, its accuracy and its speed."""
