"""The PyTorch side of the tracking pipeline."""
