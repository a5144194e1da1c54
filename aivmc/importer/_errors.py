"""The error of this package."""

from __future__ import annotations

from aivmc.ir.errors import AivmcError


class ImportModelError(AivmcError):
    """A file that is no ONNX model, or a model that breaks a rule of ONNX."""


class NodeError(ImportModelError):
    """Such an error that names the node."""
