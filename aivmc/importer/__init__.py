"""ONNX models in, programs of the onnx dialect out."""

from aivmc.importer.model import import_model

__all__ = ["import_model"]
