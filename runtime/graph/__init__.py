"""Tools that work on ONNX graphs: half precision with islands, emulation, census, FLOPs, lint.

They need the `onnx` package (extra `graph`); the rest of the runtime does without it, and imports from here only inside
functions.
"""
