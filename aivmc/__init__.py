"""Compile neural networks into kernels that give the same bits on every node.

``aivmc.compile(model)`` makes a :class:`Kernel` of an ONNX model, ``aivmc.load(path)`` reads one
from its file, and ``kernel.run(inputs)`` executes it. Each name is imported at its first use, so a
node that only runs kernels never imports the compiler.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aivmc.compiler import compile
    from aivmc.ir.constants import tensor_digest
    from aivmc.ir.errors import AivmcError
    from aivmc.runtime.kernel import Kernel, load

__all__ = ["AivmcError", "Kernel", "compile", "load", "tensor_digest"]

_HOMES = {
    "AivmcError": "aivmc.ir.errors",
    "Kernel": "aivmc.runtime.kernel",
    "compile": "aivmc.compiler",
    "load": "aivmc.runtime.kernel",
    "tensor_digest": "aivmc.ir.constants",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'aivmc' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
