"""TensorRT, versions 10 and 11, without PyTorch: plans are built from a bundle's ONNX graphs and run by cuda-python.

One code path serves both versions: networks are always strongly typed, and only names that both have are used. Nothing
here imports `tensorrt` or `cuda` before it is needed.
"""
