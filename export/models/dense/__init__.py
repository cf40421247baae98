"""Learned dense models: CLIP with a head that was trained for segmentation."""
