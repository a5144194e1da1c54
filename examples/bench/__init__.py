"""A benchmark of compiled kernels against ONNX Runtime."""
