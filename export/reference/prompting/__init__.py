"""The reference of the prompting pipeline."""
