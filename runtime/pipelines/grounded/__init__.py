"""Grounded segmentation: words to boxes by a detector, boxes to masks by a promptable model."""
