"""Example models with seeded weights, written as ONNX files."""
