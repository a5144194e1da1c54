"""ONNX ops become deterministic ones: all choices that ONNX leaves open are made here, visibly."""

from aivmc.passes.legalize.legalize import Legalize, legalize

__all__ = ["Legalize", "legalize"]
