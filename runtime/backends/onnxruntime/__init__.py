"""ONNX Runtime: sessions on its providers, and its profiler."""
