"""The build box: the PyTorch reference, ONNX export, bundles, parity. Needs the `[export]` extra."""
