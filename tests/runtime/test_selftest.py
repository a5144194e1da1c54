"""Self-tests: inputs that anyone can make again, small, and with something in them."""

from __future__ import annotations

from hashlib import shake_256

import numpy as np
import pytest

from aivmc.ir import dims
from aivmc.ir.constants import tensor_digest
from aivmc.ir.core import Bounds
from aivmc.ir.types import DType
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.signature import Signature, parse_type
from aivmc.runtime.selftest import check, choose_sizes, make_inputs, record


def signature(
    inputs: dict[str, str],
    outputs: dict[str, str] | None = None,
    symbols: dict[str, Bounds] | None = None,
    constraints: tuple[tuple[str, str], ...] = (),
) -> Signature:
    return Signature(
        tuple((n, parse_type(t)) for n, t in inputs.items()),
        tuple((n, parse_type(t)) for n, t in (outputs or {}).items()),
        symbols or {},
        tuple((dims.parse(a), dims.parse(b)) for a, b in constraints),
    )


def test_inputs_follow_the_recipe() -> None:
    made = make_inputs(signature({"a": "f32[2, 3]", "b": "i64[N]"}), {"N": 4})
    k = np.frombuffer(shake_256(b"aivmc selftest 1 0").digest(12), "<u2")
    assert made["a"].tobytes() == ((k - 32768.0) / 32768).astype(np.float32).tobytes()
    k = np.frombuffer(shake_256(b"aivmc selftest 1 1").digest(8), "<u2")
    assert made["b"].tolist() == [int(v) % 8 for v in k]


@pytest.mark.parametrize("dtype", [d for d in DType if d is not DType.STRING])
def test_every_dtype_has_inputs(dtype: DType) -> None:
    (array,) = make_inputs(signature({"a": f"{dtype.value}[5, 7]"}), {}).values()
    assert array.dtype == dtype.numpy
    assert array.shape == (5, 7)
    assert len(set(array.astype(np.complex128).ravel())) > 1


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (signature({"x": "f32[3]"}), {}),
        (signature({"x": "f32[N]"}, symbols={"N": Bounds()}), {"N": 2}),
        (signature({"x": "f32[N]"}, symbols={"N": Bounds(5, 9)}), {"N": 5}),
        (signature({"x": "f32[N]"}, symbols={"N": Bounds(0, 1)}), {"N": 1}),
        # Each symbol is as small as the output lets it be.
        (
            signature({"x": "f32[N, W]"}, {"y": "f32[N, W//32]"}, {"N": Bounds(), "W": Bounds()}),
            {"N": 2, "W": 32},
        ),
        (
            signature(
                {"x": "f32[A]", "y": "f32[B]"},
                symbols={"A": Bounds(3, None), "B": Bounds()},
                constraints=(("A", "B"),),
            ),
            {"A": 3, "B": 3},
        ),
        # Nothing fits: the least.
        (
            signature(
                {"x": "f32[N]"}, symbols={"N": Bounds(1, None)}, constraints=(("N", "N + 1"),)
            ),
            {"N": 1},
        ),
    ],
)
def test_sizes(given: Signature, expected: dict[str, int]) -> None:
    assert choose_sizes(given) == expected


def test_dims_that_shall_not_vanish() -> None:
    given = signature({"x": "f32[W]"}, symbols={"W": Bounds()})
    assert choose_sizes(given, [dims.parse("W//8 - 1")]) == {"W": 16}


def test_other_bits_are_found() -> None:
    given = signature({"x": "f32[2]"}, {"y": "f32[2]", "z": "f32[2]"})
    recorded = record(given, {}, lambda inputs: {"y": inputs["x"], "z": -inputs["x"]})
    (x,) = make_inputs(given, {}).values()
    assert recorded["outputs"] == {"y": tensor_digest(x), "z": tensor_digest(-x)}
    assert check(given, recorded, lambda inputs: {"y": inputs["x"], "z": -inputs["x"]}) == []
    assert check(given, recorded, lambda inputs: {"y": inputs["x"], "z": inputs["x"]}) == ["z"]


@pytest.mark.parametrize(
    "recorded",
    [{}, None, [], {"symbols": {}, "outputs": {}}, {"symbols": {"N": "x"}}, {"symbols": {"N": -1}}],
)
def test_an_entry_that_is_no_self_test(recorded: object) -> None:
    with pytest.raises(IntegrityError, match="self-test is not valid"):
        check(signature({"x": "f32[2]"}), recorded, lambda inputs: inputs)
