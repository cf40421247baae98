"""The reference of the grounded pipeline."""
