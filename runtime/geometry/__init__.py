"""Sizes, and linear maps between them."""
