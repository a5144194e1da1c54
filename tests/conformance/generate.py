"""Writes conformance/: every op on the cases of the tests, on hard cases, and in fixed orders.

    python -m tests.conformance.generate

The results are those of the reference semantics, NaNs made canonical.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import shake_256
from typing import Any

import numpy as np

from aivmc.ir.constants import Array
from aivmc.ir.definition import definition
from aivmc.ir.elementary import UNARY
from aivmc.ir.numpy_emit import canonical_nan
from aivmc.ir.types import DType, TensorType
from tests.conformance.vectors import FOLDER, Recipe, render
from tests.exhaustive.check import HARD_CASES
from tests.ir.ops.cases import CASES

_FLOATS = (DType.F32, DType.F64, DType.F16, DType.BF16)
_HARD = 64  # hard cases of each function on f32
_DOUBLES = 48  # operands of f64 of each kind


def files() -> dict[str, str]:
    """The files' texts by name."""
    return {f"{op}.json": render(op, [*_cases(op)]) for op in sorted(CASES)}


def results(op: str, operands: tuple[Any, ...], attributes: Mapping[str, Any]) -> list[Array]:
    """What the reference gives, as a kernel's outputs would be."""
    got = definition(op).reference(*(np.asarray(a) for a in operands), **attributes)
    return [canonical_nan(np.asarray(a)) for a in (got if isinstance(got, tuple) else (got,))]


def _cases(op: str) -> list[tuple[Any, Mapping[str, Any], list[Array]]]:
    cases: list[tuple[Any, Mapping[str, Any], list[Array]]] = [
        (operands, attributes, results(op, operands, attributes))
        for operands, attributes in CASES[op]
        if attributes.get("layout") != "channels_last"  # no canonical program has that
    ]
    function = op.removeprefix("det.")
    if function in UNARY:
        given: list[tuple[Any, ...]] = [(_hard_cases(function),), (_doubles(0),)]
        cases += [(operands, {}, results(op, operands, {})) for operands in given]
    if function == "pow":
        powers = (np.abs(_doubles(0)), _doubles(1))
        cases.append((powers, {}, results(op, powers, {})))
    for types, attributes in _ORDERED.get(op, ()):
        recipe = Recipe(types)
        cases.append((recipe, attributes, results(op, recipe.operands(), attributes)))
    return cases


def _hard_cases(name: str) -> Array:
    """Inputs whose results lie closest to the middle of two floats, spread over all that do."""
    with np.load(HARD_CASES / f"{name}.npz") as data:
        inputs = data["inputs"]
    at = np.linspace(0, len(inputs) - 1, _HARD).astype(np.int64)
    chosen: Array = inputs[at].view(np.float32)
    return chosen


def _doubles(number: int) -> Array:
    """f64 operands: of any bits, and of magnitudes up to 2^10."""
    bits = shake_256(f"f64 operands {number}".encode()).digest(8 * 2 * _DOUBLES)
    words = np.frombuffer(bits, "<u8")
    anywhere, some = words[:_DOUBLES], words[_DOUBLES:]
    exponents = np.uint64(1023 + 10) - (some >> np.uint64(52)) % np.uint64(30)
    fraction = some & np.uint64((1 << 52) - 1)
    moderate = (some & np.uint64(1 << 63)) | (exponents << np.uint64(52)) | fraction
    chosen: Array = np.concatenate([anywhere, moderate]).view(np.float64)
    return np.roll(chosen, number)


Ordered = tuple[tuple[TensorType, ...], dict[str, Any]]


def _f(dtype: DType, *shape: int) -> TensorType:
    return TensorType(dtype, shape)


def _ordered() -> dict[str, list[Ordered]]:
    """Sums of so many elements that their order shows."""
    conv: dict[str, Any] = {
        "strides": (2, 1),
        "dilations": (1, 2),
        "low": (1, 2),
        "high": (1, 0),
        "group": 2,
    }
    window: dict[str, Any] = {"window": (1, 30, 30), "strides": (1, 3, 2), "dilations": (1, 1, 1)}
    window |= {"low": (0, 3, 0), "high": (0, 0, 5), "order": "lanes16"}
    sums: list[Ordered] = [
        ((_f(t, 8, n),), {"axes": (1,), "keepdims": False, "order": order})
        for t in _FLOATS
        for n in (15, 17, 511, 513, 9000)
        for order in ("lanes16", "seq")
    ]
    two_axes = {"axes": (0, 2), "keepdims": True, "order": "lanes16"}
    sums.append(((_f(DType.F32, 40, 2, 30),), two_axes))
    matmuls: list[Ordered] = [
        ((_f(t, 3, n), _f(t, n, 5)), {"block": 512}) for t in _FLOATS for n in (512, 513, 1700)
    ]
    integers: list[Ordered] = [
        ((_f(DType.U8, 2, 70), _f(DType.I8, 70, 3)), {"block": 0}),
    ]
    convolutions: list[Ordered] = [
        (
            (_f(t, 1, 140, 6, 7), _f(t, 4, 70, 3, 3)),
            {**conv, "block": 48, "layout": "channels_first"},
        )
        for t in _FLOATS
    ]
    return {
        **dict.fromkeys(("det.reduce_sum", "det.reduce_square_sum", "det.reduce_product"), sums),
        "det.matmul": matmuls + integers,
        "det.conv": convolutions,
        "det.conv_transpose": [
            (
                (_f(t, 1, 140, 4, 3), _f(t, 140, 2, 3, 3)),
                {**conv, "output_pad": (1, 0), "block": 48},
            )
            for t in _FLOATS
        ],
        "det.window_sum": [((_f(t, 2, 40, 41),), window) for t in (DType.F32, DType.F16)],
        "det.cumulative_sum": [
            ((_f(t, 2, 700),), {"axis": 1, "exclusive": False, "reverse": reverse})
            for t in _FLOATS
            for reverse in (False, True)
        ],
    }


_ORDERED = _ordered()


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    made = files()
    for path in FOLDER.glob("*.json"):
        if path.name not in made:
            path.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
