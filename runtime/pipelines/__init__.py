"""Pipelines: families of recipes, each a folder."""
