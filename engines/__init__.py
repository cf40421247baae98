"""Recipes (`*.toml`): which models, which method, which parameters. Bundles are written beside them by default."""
