"""Where a stage's time goes: by trtexec on a GPU with TensorRT, by ONNX Runtime's profiler elsewhere."""
