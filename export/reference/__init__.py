"""The PyTorch reference: a module for every stage, and the whole pipeline as plainly as it can be read."""
