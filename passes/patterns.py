"""Patterns of ops around one value X, matched without regard to how sums and products are written.

A pattern is X, a number (a constant whose elements all are that number, rounded to its dtype), or
one of the classes here. Matching gives the values that X may be.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TypeAlias

import numpy as np

from aivmc.ir.core import Op, Value
from aivmc.passes.rewriting import Rewriter


@dataclass(frozen=True)
class Unknown:
    """The value that a pattern is about; all its places hold one value."""


@dataclass(frozen=True)
class Call:
    """An op of one name over operands in order."""

    name: str
    operands: tuple[Pattern, ...]


@dataclass(frozen=True)
class Chain:
    """Terms under an associative, commutative op, in any order and grouping."""

    name: str
    terms: tuple[Pattern, ...]


@dataclass(frozen=True)
class OneOf:
    """Any of several forms."""

    forms: tuple[Pattern, ...]


Pattern: TypeAlias = Unknown | Call | Chain | OneOf | float
Patterns: TypeAlias = tuple[Pattern, ...]
X = Unknown()


def call(name: str, *operands: Pattern) -> Call:
    return Call(name, operands)


def times(*terms: Pattern) -> Chain:
    return Chain("det.mul", terms)


def plus(*terms: Pattern) -> Chain:
    return Chain("det.add", terms)


def one_of(*forms: Pattern) -> OneOf:
    return OneOf(forms)


def match_chain(pattern: Chain, op: Op, b: Rewriter) -> Value | None:
    """What X is if ``op`` computes the sum or product ``pattern``; None if it doesn't."""
    if op.name != pattern.name:
        return None
    found = _match_operands(pattern.name, pattern.terms, op.operands, b, None)
    return next((x for x in found if x is not None), None)


def _match(pattern: Pattern, value: Value, b: Rewriter, x: Value | None) -> Iterator[Value | None]:
    """Each X with which ``value`` matches, given X or None; None where there was no X in it."""
    match pattern:
        case Unknown():
            if x is None or x is value:
                yield value
        case float(number):
            if _is_number(value, number, b):
                yield x
        case Call(name, operands):
            op = b.produced_by(value, name)
            if op is not None:
                yield from _match_all(operands, op.operands, b, x)
        case Chain(name, terms):
            yield from _match_chain(name, terms, value, b, x)
        case OneOf(forms):
            for form in forms:
                yield from _match(form, value, b, x)


def _match_all(
    patterns: Sequence[Pattern], values: Sequence[Value], b: Rewriter, x: Value | None
) -> Iterator[Value | None]:
    if not patterns:
        yield x
        return
    for found in _match(patterns[0], values[0], b, x):
        yield from _match_all(patterns[1:], values[1:], b, found)


def _match_chain(
    name: str, terms: Patterns, value: Value, b: Rewriter, x: Value | None
) -> Iterator[Value | None]:
    """One term is matched as it is; more are dealt out to the two operands in every way."""
    if len(terms) == 1:
        yield from _match(terms[0], value, b, x)
        return
    op = b.produced_by(value, name)
    if op is not None:
        yield from _match_operands(name, terms, op.operands, b, x)


def _match_operands(
    name: str, terms: Patterns, operands: Sequence[Value], b: Rewriter, x: Value | None
) -> Iterator[Value | None]:
    left, right = operands
    for sides in product((True, False), repeat=len(terms)):
        lefts = tuple(t for t, side in zip(terms, sides) if side)
        rights = tuple(t for t, side in zip(terms, sides) if not side)
        if lefts and rights:
            for found in _match_chain(name, lefts, left, b, x):
                yield from _match_chain(name, rights, right, b, found)


def _is_number(value: Value, number: float, b: Rewriter) -> bool:
    constant = b.constant_of(value)
    if constant is None or not constant.is_loaded or not constant.type.dtype.is_float:
        return False
    data = constant.data
    return data.size > 0 and bool((data == np.array(number).astype(data.dtype)).all())
