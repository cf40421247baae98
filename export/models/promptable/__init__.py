"""Small promptable models, written from their architectures, with the names of their official checkpoints."""
