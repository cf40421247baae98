"""TensorRT 10 and 11 and TensorRT-RTX, without PyTorch: plans are built from a bundle's ONNX graphs and run by
cuda-python.

One code path serves them all: networks are always strongly typed, and only names that all have are used. What only one
library has lies in its own file, `gpu.py` or `rtx.py`. Nothing here imports them or `cuda` before it is needed.
"""
