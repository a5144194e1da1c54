"""The self-test: inputs that anyone can make again, and the digests of what the kernel gives.

The bytes of input number i (from 0) are SHAKE-256 of ``aivmc selftest 1 <i>``, two for each
element, little-endian, as k: floats are (k - 32768) / 32768, rounded to nearest even, integers
k mod 8, bools and integers of 2 bits k mod 2, complex numbers a pair of such floats. A kernel that
takes a seed is given the first 32 bytes of SHAKE-256 of ``aivmc selftest 1 seed``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from hashlib import shake_256
from math import prod
from typing import Any

import numpy as np

from aivmc.ir.binding import InputError, bind_symbols
from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.dims import Dim, evaluate
from aivmc.ir.errors import AivmcError
from aivmc.ir.seeds import SEED_BYTES
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.signature import Signature

Run = Callable[[Mapping[str, Array]], Mapping[str, Array]]

_BYTES_PER_ELEMENT = 20  # at least: while one is made it exists as k, float and in its own dtype

SEED = shake_256(b"aivmc selftest 1 seed").digest(SEED_BYTES)
"""What runs of the self-test draw from."""

_LEVELS = (2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 512, 1024)


def choose_sizes(signature: Signature, positive: Sequence[Dim] = ()) -> dict[str, int]:
    """Small values for the symbols, for which inputs and outputs have elements.

    ``positive`` are further dims that shall not vanish. Without any such values, all are as small
    as their bounds let them be.
    """
    types = (*signature.inputs, *signature.outputs)
    vital = [*positive, *(d for _, t in types for d in t.shape)]

    def fits(values: Mapping[str, int]) -> bool:
        try:
            _bind(signature, values)
            return all(evaluate(d, values) > 0 for d in vital)
        except (InputError, ZeroDivisionError):
            return False

    for level in (*_LEVELS, 1):
        values = _at(signature, dict.fromkeys(signature.symbols, level))
        if fits(values):
            return _lowered(signature, values, fits)
    return _at(signature, dict.fromkeys(signature.symbols, 0))


def make_inputs(signature: Signature, values: Mapping[str, int]) -> dict[str, Array]:
    """The self-test's inputs for these symbol values."""
    return {
        name: _tensor(type, _shape(type, values), i)
        for i, (name, type) in enumerate(signature.inputs)
    }


def record(signature: Signature, values: Mapping[str, int], run: Run) -> dict[str, Any]:
    """The self-test's entry in a kernel file. ``AivmcError`` where memory is too small for it."""
    _check_memory(signature, values)
    inputs = make_inputs(signature, values)
    return {
        "recipe": "aivmc selftest 1",
        "symbols": dict(values),
        "inputs": {name: tensor_digest(array) for name, array in inputs.items()},
        "outputs": {name: tensor_digest(array) for name, array in run(inputs).items()},
    }


def check(signature: Signature, recorded: Any, run: Run) -> list[str]:
    """Run the self-test again; names of the outputs that have other bits than recorded.

    ``IntegrityError`` where the entry isn't a self-test of such a kernel.
    """
    try:
        values = {str(name): int(value) for name, value in recorded["symbols"].items()}
        again = record(signature, values, run)
        if {**again, "outputs": None} != {**recorded, "outputs": None}:
            raise ValueError("its inputs are others")
        expected = recorded["outputs"]
        return [name for name, digest in again["outputs"].items() if expected[name] != digest]
    except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
        raise IntegrityError(f"the self-test is not valid: {error}") from None


def _at(signature: Signature, values: Mapping[str, int]) -> dict[str, int]:
    """The values, moved into the symbols' bounds."""
    return {
        name: max(b.low, min(values[name], b.high if b.high is not None else values[name]))
        for name, b in sorted(signature.symbols.items())
    }


def _lowered(
    signature: Signature, values: dict[str, int], fits: Callable[[Mapping[str, int]], bool]
) -> dict[str, int]:
    """Each symbol in turn made as small as the others let it be."""
    for name in values:
        smaller = (_at(signature, {**values, name: level}) for level in _LEVELS)
        values = next((v for v in smaller if v[name] <= values[name] and fits(v)), values)
    return values


def _bind(signature: Signature, values: Mapping[str, int]) -> None:
    shapes = {name: _shape(type, values) for name, type in signature.inputs}
    bounds = {name: (b.low, b.high) for name, b in signature.symbols.items()}
    bind_symbols(signature.inputs, shapes, signature.constraints, bounds)


def _check_memory(signature: Signature, values: Mapping[str, int]) -> None:
    """Before an operating system that promises more memory than it has ends the process."""
    types = (*signature.inputs, *signature.outputs)
    need = max((prod(_shape(t, values)) * _BYTES_PER_ELEMENT for _, t in types), default=0)
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > have:
        raise AivmcError(
            f"the self-test needs {need} bytes of memory for one of the model's inputs and "
            f"outputs, and this machine has {have}"
        )


def _shape(type: TensorType, values: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(evaluate(d, values) for d in type.shape)


def _tensor(type: TensorType, shape: tuple[int, ...], number: int) -> Array:
    dtype = type.dtype
    if dtype is DType.STRING:
        raise AivmcError("there is no self-test for strings")
    parts = 2 if dtype in (DType.C64, DType.C128) else 1
    count = int(np.prod(shape, dtype=np.int64)) * parts
    raw = shake_256(b"aivmc selftest 1 %d" % number).digest(2 * count)
    k = np.frombuffer(raw, "<u2").astype(np.int64)
    flat: Array = (k - 32768) / 32768
    if parts == 2:
        flat = flat.view(np.complex128)
    elif dtype is DType.BOOL or dtype.is_integer:
        flat = k % (8 if dtype.bits > 2 else 2)
    return flat.astype(dtype.numpy).reshape(shape)
