"""Dims that must be equal: solved for a symbol where that can be done, kept as constraints else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aivmc.ir.core import Bounds
from aivmc.ir.dims import Dim, Symbol, symbols


class Solved(Exception):  # noqa: N818 - an event rather than an error
    """A symbol turned out to be another dim: conversion starts again with that known."""

    def __init__(self, name: str, dim: Dim) -> None:
        super().__init__(f"{name} = {dim}")
        self.name = name
        self.dim = dim


class Equations:
    """Collects equalities of dims. ``order`` lists the symbols as the inputs bring them."""

    def __init__(self, order: Sequence[str], bounds: Mapping[str, Bounds]) -> None:
        self._order = order
        self._bounds = bounds
        self._constraints: dict[tuple[Dim, Dim], None] = {}

    @property
    def constraints(self) -> tuple[tuple[Dim, Dim], ...]:
        return tuple(self._constraints)

    def require(self, a: Dim, b: Dim) -> None:
        """Note that ``a`` and ``b`` are equal. :class:`Solved` if that gives away a symbol."""
        if (a, b) in self._constraints or (b, a) in self._constraints:
            return
        present = symbols(a) | symbols(b)
        for name in reversed(self._order):  # the later symbol goes, whatever its name
            solution = _solve(a - b, name) if name in present else None
            if solution is not None and self._bounds.get(name, Bounds()) == Bounds():
                raise Solved(name, solution)
        self._constraints[a, b] = None


def _solve(difference: Dim, name: str) -> Dim | None:
    """The dim that ``name`` is if ``difference`` is 0; None if it isn't linear in it."""
    assert not isinstance(difference, int)
    coefficient = next((c for m, c in difference.terms if m == (Symbol(name),)), 0)
    if abs(coefficient) != 1:
        return None
    own = type(difference)((((Symbol(name),), coefficient),))
    rest = difference - own
    if name in symbols(rest):
        return None
    return -rest if coefficient == 1 else rest
