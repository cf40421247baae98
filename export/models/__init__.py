"""The foundation models, and where their weights come from."""
