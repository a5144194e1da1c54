"""The canonical program inside a kernel, with its constants."""

from __future__ import annotations

from aivmc.backends.artifact import Packing
from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.core import Module
from aivmc.ir.errors import IRError
from aivmc.ir.text import parse
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.manifest import CANONICAL, Packed
from aivmc.kernel_file.reader import KernelFile
from aivmc.kernel_file.signature import Signature
from aivmc.passes.identity import semantic_digest


def canonical_program(kernel: KernelFile) -> Module:
    """The program that the kernel was made from, with the constants that the file holds."""
    return _program(kernel, CANONICAL)


def kernel_program(kernel: KernelFile, target: str) -> Module:
    """The program of kernels that a target's code was made from."""
    return _program(kernel, f"targets/{target}/kernel.air")


def check_program(kernel: KernelFile) -> None:
    """``IntegrityError`` unless constants, signature and semantic digest are the program's."""
    for digest, array in _constants(kernel).items():
        if tensor_digest(array) != digest:
            raise IntegrityError(f"the constant {digest} has another digest")
    module = canonical_program(kernel)
    if semantic_digest(module) != kernel.manifest.semantic:
        raise IntegrityError("the semantic digest is not that of the canonical program")
    if Signature.of(module).to_json() != kernel.manifest.signature.to_json():
        raise IntegrityError("the signature is not that of the canonical program")


def _program(kernel: KernelFile, member: str) -> Module:
    try:
        return parse(kernel.text(member), member, _constants(kernel))
    except (IRError, UnicodeDecodeError) as error:
        raise IntegrityError(f"the program {member} can't be read: {error}") from None


def _constants(kernel: KernelFile) -> dict[str, Array]:
    """Every large constant of the program by digest; those stored packed are unpacked."""
    arrays = kernel.arrays()
    return {
        c.digest: _unpacked(c, arrays[c.packed]) if isinstance(c, Packed) else arrays[c.digest]
        for c in kernel.manifest.constants
    }


def _unpacked(constant: Packed, packed: Array) -> Array:
    shape = tuple(d for d in constant.type.shape if isinstance(d, int))
    how = Packing(constant.digest, constant.pad, constant.shape, constant.permutation)
    try:
        return how.invert(packed, shape)
    except (ValueError, IndexError, TypeError) as error:
        raise IntegrityError(f"constant {constant.digest} can't be unpacked: {error}") from None
