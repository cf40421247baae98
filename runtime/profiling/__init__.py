"""Where a stage's time goes: by trtexec on a GPU with TensorRT, by OpenVINO or ONNX Runtime elsewhere."""
