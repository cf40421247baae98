"""SAM 2's memory: what a frame leaves behind, and how later frames read it."""
