"""What `generate.py` is made of: a file for every page, and what pages have in common."""
