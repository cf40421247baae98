"""The reference of the training-free pipeline."""
