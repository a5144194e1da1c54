"""Loads and executes kernels. Imports no compiler: a node runs a kernel without tvm or onnx."""
