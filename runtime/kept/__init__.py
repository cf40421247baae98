"""What is kept on disk and read back, and no manifest vouches for: one checked form for all of it.

A kept file says what it is, of what, and how long, and carries a digest of all that. What does not fit counts as
absent, so whoever reads it makes it anew. Nothing else is promised to it: it may be cut, altered, removed or exchanged
at any moment, also while it is read.
"""
