"""Backends: what executes engines. A session is one loaded engine, named arrays in, named arrays out."""
