"""Fits to the user's own photos: the choice of CLIP's blocks, INT8, thresholds."""
