"""The interpreter and the binding of symbols to the shapes of inputs."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aivmc.ir.binding import InputError, bind_symbols
from aivmc.ir.core import Op
from aivmc.ir.definition import OpDef, define, definition, is_defined
from aivmc.ir.dims import symbol
from aivmc.ir.errors import IRError, UnsupportedError
from aivmc.ir.interpret import interpret
from aivmc.ir.text import parse
from aivmc.ir.types import DType, TensorType

N, M, K = symbol("N"), symbol("M"), symbol("K")
TEXT = """
module kernel {
  symbols {N: 1..8}
  func @main(%x: f32[N, 2], %"odd name": f32[2]) -> (y: f32[N, 2], sizes: i64[2], x: f32[N, 2]) {
    %c = det.constant {value = const<f32[2], [0.5, -4.0]>} : f32[2]
    %y = kernel.map(%x, %c) : f32[N, 2] {
      (%a: f32[N, 2], %b: f32[2]):
        %sum = det.add(%a, %b) : f32[N, 2]
        %product = det.mul(%sum, %"odd name") : f32[N, 2]
        yield %product
    }
    %sizes = det.dims {dims = [N, 2*N + 1]} : i64[2]
    return %y, %sizes, %x
  }
}
"""


def inputs(rows: int = 3) -> dict[str, Any]:
    x = np.arange(rows * 2, dtype=np.float32).reshape(rows, 2)
    return {"x": x, "odd name": np.array([2, 0.25], np.float32)}


def test_a_module_runs() -> None:
    out = interpret(parse(TEXT), inputs())
    assert list(out) == ["y", "sizes", "x"]
    assert out["y"].tobytes() == np.array([[1, -0.75], [5, -0.25], [9, 0.25]], np.float32).tobytes()
    assert out["sizes"].tolist() == [3, 7]
    assert out["sizes"].dtype == np.int64
    assert out["x"].tobytes() == inputs()["x"].tobytes()


def test_the_trace_sees_every_op_as_it_has_run() -> None:
    seen: list[tuple[Op, tuple[int, ...]]] = []
    interpret(parse(TEXT), inputs(), lambda op, results: seen.append((op, results[0].shape)))
    assert [(op.name, shape) for op, shape in seen] == [
        ("det.constant", (2,)),
        ("det.add", (3, 2)),
        ("det.mul", (3, 2)),
        ("kernel.map", (3, 2)),
        ("det.dims", (2,)),
    ]


def test_if_takes_one_branch() -> None:
    text = """
    module det {
      func @main(%p: bool[], %x: f32[2]) -> (y) {
        %y = det.if(%p) : f32[2] {
          %a = det.neg(%x) : f32[2]
          yield %a
        } {
          yield %x
        }
        return %y
      }
    }
    """
    x = np.array([1, -2], np.float32)
    for p, expected in ((True, -x), (False, x)):
        out = interpret(parse(text), {"p": np.array(p), "x": x})
        assert out["y"].tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x": None}, "input 'x' is missing; the inputs are 'x', 'odd name'"),
        ({"z": np.zeros(2)}, "there is no input 'z'; the inputs are 'x', 'odd name'"),
        ({"x": np.zeros((3, 2))}, "input 'x' must be f32[N, 2], not float64"),
        ({"x": np.zeros(3, np.float32)}, "got the shape [3]: 2 dims are needed"),
        ({"x": np.zeros((3, 3), np.float32)}, "got the shape [3, 3]: dim 1 must be 2"),
        ({"x": np.zeros((9, 2), np.float32)}, "N must be in 1..8, but N is 9 in input 'x'"),
        ({"x": np.zeros((0, 2), np.float32)}, "N must be in 1..8, but N is 0 in input 'x'"),
    ],
)
def test_inputs_that_do_not_fit(change: dict[str, Any], message: str) -> None:
    given = {name: a for name, a in (inputs() | change).items() if a is not None}
    with pytest.raises(InputError, match=re.escape(message)):
        interpret(parse(TEXT), given)


def test_an_op_without_semantics_is_named() -> None:
    text = "module onnx { func @main() -> (y) { %0 = onnx.Foo : f32[2] return %0 } }"
    with pytest.raises(UnsupportedError, match=r"onnx\.Foo at m\.air:1:42 has no reference"):
        interpret(parse(text, "m.air"), {})


def test_a_reference_must_give_the_type_of_its_op() -> None:
    text = "module det { func @main(%x: f32[2]) -> (y) { %0 = det.neg(%x) : f32[3] return %0 } }"
    with pytest.raises(IRError, match=r"is f32\[3\], but its reference gave f32\[2\]"):
        interpret(parse(text), {"x": np.zeros(2, np.float32)})


def test_a_reference_may_give_several_results() -> None:
    class Split(OpDef):
        name = "test.split"
        operands = ("x",)
        attributes = {"at": "dim"}

        def reference(self, *arrays: Any, **attributes: Any) -> Any:
            (x,), at = arrays, attributes["at"]
            return x[:at], x[at:]

    if not is_defined(Split.name):
        define(Split)
    assert definition(Split.name)
    text = """module det { symbols {N} func @main(%x: f32[2*N], %n: i64[N]) -> (a, b) {
      %a, %b = test.split(%x) {at = N - 1} : f32[N - 1], f32[N + 1] return %a, %b } }"""
    out = interpret(
        parse(text), {"x": np.array([1, 2, 3, 4], np.float32), "n": np.zeros(2, np.int64)}
    )
    assert (out["a"].tolist(), out["b"].tolist()) == ([1.0], [2.0, 3.0, 4.0])


def arguments(**shapes: Any) -> list[tuple[str, TensorType]]:
    return [(name, TensorType(DType.F32, shape)) for name, shape in shapes.items()]


@given(st.integers(0, 99), st.integers(0, 99))
def test_bare_symbols_bind_and_other_dims_are_checked(n: int, m: int) -> None:
    declared = arguments(a=(2 * N + M, N), b=(M, 7))
    assert bind_symbols(declared, {"a": (2 * n + m, n), "b": (m, 7)}) == {"N": n, "M": m}
    with pytest.raises(InputError, match=r"input 'a' .*: dim 0 must be"):
        bind_symbols(declared, {"a": (2 * n + m + 1, n), "b": (m, 7)})


@pytest.mark.parametrize(
    "shapes, constraints, message",
    [
        (
            {"a": (2,), "b": (3, 1)},
            (),
            "input 'b' of type f32[N, K] got the shape [3, 1]: "
            "dim 0 must be 2: N is 2 in input 'a'",
        ),
        (
            {"a": (2,), "b": (2, 5)},
            ((N, 2 * K),),
            "N == 2*K must hold, but 2 != 10: 2*K for K = 5, N = 2",
        ),
        (
            {"a": (2,), "b": (2, 0)},
            ((N, N // K),),
            "N//K divides by zero for K = 0, N = 2",
        ),
        (
            {"a": (2,), "b": (2, 1)},
            ((N, M),),
            "M needs M, which no input's shape gives",
        ),
    ],
)
def test_shapes_that_do_not_fit(shapes: Any, constraints: Any, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        bind_symbols(arguments(a=(N,), b=(N, K)), shapes, constraints)


def test_lower_bound_alone() -> None:
    with pytest.raises(InputError, match="N must be at least 2, but N is 1 in input 'a'"):
        bind_symbols(arguments(a=(N,)), {"a": (1,)}, bounds={"N": (2, None)})
