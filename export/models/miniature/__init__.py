"""The miniature models: the true architectures at a small size, with trained weights."""
