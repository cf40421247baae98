"""Words: how they are cut into tokens, and the vocabulary that they make."""
