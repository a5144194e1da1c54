"""Symbolic dims against integer arithmetic, and their canonical form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from aivmc.ir.dims import (
    Dim,
    Expr,
    ceil_div,
    dim_max,
    evaluate,
    floor_div,
    is_symbol_name,
    parse,
    product,
    substitute,
    symbol,
    symbols,
)

NAMES = ("N", "M", "K")
VALUES = st.fixed_dictionaries({name: st.integers(1, 40) for name in NAMES})
Formula = tuple[Dim, Callable[[dict[str, int]], int]]  # a dim, and the same in plain integers


def _combine(symbolic: Any, plain: Any) -> Callable[[tuple[Formula, Formula]], Formula]:
    def build(pair: tuple[Formula, Formula]) -> Formula:
        (a, f), (b, g) = pair
        return symbolic(a, b), lambda v: plain(f(v), g(v))

    return build


LEAVES = st.one_of(
    st.integers(-9, 9).map(lambda i: (i, lambda v: i)),
    st.sampled_from(NAMES).map(lambda n: (symbol(n), lambda v: v[n])),
)
POSITIVE = st.one_of(
    st.integers(1, 9).map(lambda i: (i, lambda v: i)),
    st.sampled_from(NAMES).map(lambda n: (symbol(n), lambda v: v[n])),
    st.sampled_from(NAMES).map(lambda n: (2 * symbol(n) + 3, lambda v: 2 * v[n] + 3)),
)
FORMULAS: st.SearchStrategy[Formula] = st.recursive(
    LEAVES,
    lambda f: st.one_of(
        st.tuples(f, f).map(_combine(lambda a, b: a + b, lambda a, b: a + b)),
        st.tuples(f, f).map(_combine(lambda a, b: a - b, lambda a, b: a - b)),
        st.tuples(f, f).map(_combine(lambda a, b: a * b, lambda a, b: a * b)),
        st.tuples(f, f).map(_combine(dim_max, max)),
        st.tuples(f, POSITIVE).map(_combine(floor_div, lambda a, b: a // b)),
        st.tuples(f, POSITIVE).map(_combine(ceil_div, lambda a, b: -(-a // b))),
        st.tuples(f, POSITIVE).map(_combine(lambda a, b: a % b, lambda a, b: a % b)),
    ),
    max_leaves=8,
)
DIMS = FORMULAS.map(lambda f: f[0])


@settings(max_examples=300, deadline=None)
@given(FORMULAS, VALUES)
def test_dims_agree_with_integers(formula: Formula, values: dict[str, int]) -> None:
    dim, plain = formula
    assert evaluate(dim, values) == plain(values)


@settings(max_examples=300, deadline=None)
@given(DIMS)
def test_parse_reads_what_str_prints(dim: Dim) -> None:
    assert parse(str(dim)) == dim
    assert str(parse(str(dim))) == str(dim)


@settings(max_examples=300, deadline=None)
@given(FORMULAS, VALUES)
def test_the_text_means_the_dim_in_python_too(formula: Formula, values: dict[str, int]) -> None:
    dim, plain = formula
    assert eval(str(dim), {"max": max}, dict(values)) == plain(values)


@given(DIMS, DIMS, DIMS)
def test_ring_identities(a: Dim, b: Dim, c: Dim) -> None:
    assert a + b == b + a
    assert a * b == b * a
    assert (a + b) + c == a + (b + c)
    assert (a * b) * c == a * (b * c)
    assert a * (b + c) == a * b + a * c
    assert a - a == 0
    assert a + 0 == a
    assert a * 1 == a
    assert a * 0 == 0
    assert 0 - (0 - a) == a


@given(DIMS, DIMS)
def test_equal_dims_hash_and_print_the_same(a: Dim, b: Dim) -> None:
    left, right = (a + b) * (a - b), a * a - b * b
    assert left == right
    assert hash(left) == hash(right)
    assert str(left) == str(right)


@given(DIMS, st.integers(1, 9), st.integers(1, 9))
def test_division_divides_out(a: Dim, b: int, c: int) -> None:
    n = symbol("N")
    assert (a * b) // b == a
    assert (a * n) // n == a
    assert (a * b + b) // b == a + 1
    assert (a * b * c) // (b * c) == a
    assert (n // b) // c == n // (b * c)
    assert (n * b) // (b * c) == n // c
    assert (n * b + b - 1) // (b * c) == n // c


@given(DIMS, VALUES, st.sampled_from(NAMES))
def test_substituting_step_by_step_is_evaluating(
    dim: Dim, values: dict[str, int], first: str
) -> None:
    partial = substitute(dim, {first: values[first]})
    assert first not in symbols(partial)
    assert evaluate(partial, values) == evaluate(dim, values)


@given(DIMS, DIMS, VALUES)
def test_substituting_dims_is_composing(a: Dim, b: Dim, values: dict[str, int]) -> None:
    inner = evaluate(b, values)
    assume(inner > 0)
    composed = substitute(a, {"N": b})
    assert evaluate(composed, values) == evaluate(a, values | {"N": inner})


@pytest.mark.parametrize(
    "dim, text",
    [
        (symbol("N") * 2 + 1, "2*N + 1"),
        (1 - symbol("N"), "-N + 1"),
        (symbol("N") * symbol("M") - 3 * symbol("K"), "M*N - 3*K"),
        ((symbol("N") + 1) // 2, "(N + 1)//2"),
        (symbol("N") // 2 + 1, "N//2 + 1"),
        (3 * (symbol("N") // 2), "3*(N//2)"),
        (-(symbol("N") // 2), "-(N//2)"),
        ((symbol("N") // symbol("M")) // symbol("K"), "(N//M)//K"),
        (symbol("N") // (symbol("M") * 2), "N//(2*M)"),
        (7 // symbol("N"), "(7)//N"),
        (dim_max(symbol("N"), 3), "max(3, N)"),
        (dim_max(symbol("N"), symbol("N") - 1), "N"),
        ((symbol("N") + 7) // 8 * 8, "8*((N + 7)//8)"),
    ],
)
def test_canonical_text(dim: Dim, text: str) -> None:
    assert str(dim) == text
    assert parse(text) == dim


def test_evaluate_names_the_missing_symbol() -> None:
    with pytest.raises(KeyError, match="M"):
        evaluate(symbol("N") + symbol("M"), {"N": 1})


@given(st.text() | st.text("NM0129+-*/() ,max.%", max_size=20))
def test_any_text_is_a_dim_or_a_value_error(text: str) -> None:
    try:
        dim = parse(text)
    except ValueError:
        return
    assert parse(str(dim)) == dim


@pytest.mark.parametrize(
    "text", ["", "N +", "N/2", "N%2", "N//0", "N//-1", "1.5", "True", "f(N)", "max(N)", "(" * 1000]
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a dim"):
        parse(text)


def test_product() -> None:
    assert product([]) == 1
    assert product([2, symbol("N"), 3]) == 6 * symbol("N")
    assert isinstance(product([2, symbol("N")]), Expr)


@pytest.mark.parametrize("name", ["N", "batch_size", "_x1", "Max", "f", "u", "f32x"])
def test_symbol_names(name: str) -> None:
    assert is_symbol_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "1", "a b", "é", "max", "in", "None", "true", "f32", "u4", "bf16", "f8e4m3fn", "seq"],
)
def test_reserved_symbol_names(name: str) -> None:
    assert not is_symbol_name(name)
