"""Checkpoints as people have them: what a file is, how its tensors are read, and which names they have."""
