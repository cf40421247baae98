"""The reference of the dense pipeline."""
