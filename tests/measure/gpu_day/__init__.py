"""The kit for a day with a GPU: see `__main__.py`."""
