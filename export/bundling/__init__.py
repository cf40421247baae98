"""From modules to a bundle: ONNX export, half precision, what is unchanged and stays."""
