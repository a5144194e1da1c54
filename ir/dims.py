"""Symbolic dims: integer polynomials over named symbols and floor divisions, in canonical form.

Two dims that are equal as polynomials compare and hash equal, whatever way they were built, and
print the same. Symbols stand for integers >= 0 unknown until inputs are bound.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache, reduce
from keyword import iskeyword
from math import gcd
from typing import TypeAlias

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# Words with another meaning where IR text may have a dim; the pattern covers names of dtypes.
_RESERVED = re.compile(
    r"max|inf|nan|true|false|const|seq|opt|bool|string|b?f16|[fiuc][0-9]+|f[48]e[0-9]m[0-9][a-z]*"
)


@dataclass(frozen=True)
class Symbol:
    """A named unknown."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class FloorDiv:
    """``numerator // denominator`` that does not divide out."""

    numerator: Expr
    denominator: Dim

    def __str__(self) -> str:
        return f"{_paren(self.numerator)}//{_paren(self.denominator)}"


@dataclass(frozen=True)
class Max:
    """The larger of two dims whose order is not known."""

    a: Dim
    b: Dim

    def __str__(self) -> str:
        return f"max({self.a}, {self.b})"


Atom: TypeAlias = Symbol | FloorDiv | Max
Monomial: TypeAlias = tuple[Atom, ...]  # sorted by text; () is the constant term


@dataclass(frozen=True)
class Expr:
    """A polynomial that is not a plain integer: terms sorted, no zero coefficient."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _sum([*_terms(self), *_terms(other)])

    def __mul__(self, other: Dim) -> Dim:
        return _sum(
            (tuple(sorted(m + n, key=str)), c * d)
            for m, c in _terms(self)
            for n, d in _terms(other)
        )

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + other * -1

    def __rsub__(self, other: Dim) -> Dim:
        return -self + other

    __radd__ = __add__
    __rmul__ = __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_div(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return floor_div(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return self - floor_div(self, other) * other

    def __rmod__(self, other: int) -> Dim:
        return other - floor_div(other, self) * self

    def __str__(self) -> str:
        out = ""
        for i, (monomial, c) in enumerate(self.terms):
            sign = ("-" if c < 0 else "") if i == 0 else (" - " if c < 0 else " + ")
            factors = [str(abs(c))] if abs(c) != 1 or not monomial else []
            alone = len(monomial) == 1 and c == 1
            factors += [str(a) if alone else _paren_atom(a) for a in monomial]
            out += sign + "*".join(factors)
        return out

    def __repr__(self) -> str:
        return f"Dim({self})"


Dim: TypeAlias = int | Expr


def symbol(name: str) -> Expr:
    """The dim that is the symbol ``name`` (see :func:`is_symbol_name`)."""
    return Expr((((Symbol(name),), 1),))


def is_symbol_name(name: str) -> bool:
    """Whether ``name`` can be a symbol: an ASCII identifier that no dim or IR text reserves."""
    return bool(_IDENTIFIER.fullmatch(name)) and not (iskeyword(name) or _RESERVED.fullmatch(name))


def product(dims: Iterable[Dim]) -> Dim:
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def product_of_some(dims: Iterable[Dim]) -> Dim:
    """The product if each that is 0 were 1."""
    return product(dim_max(dim, 1) for dim in dims)


def floor_div(a: Dim, b: Dim) -> Dim:
    """``a // b`` for ``b > 0``, divided out where that is exact."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    quotient = _exact_div(a, b)
    if quotient is not None:
        return quotient
    if isinstance(b, int) and isinstance(a, Expr):
        return _floor_div_by_int(a, b)
    return Expr((((FloorDiv(_as_expr(a), b),), 1),)) if isinstance(a, Expr) else _opaque(a, b)


def ceil_div(a: Dim, b: Dim) -> Dim:
    return floor_div(a + b - 1, b)


def dim_max(a: Dim, b: Dim) -> Dim:
    """The larger dim, decided where the sign of their difference is known."""
    if is_nonnegative(a - b):
        return a
    if is_nonnegative(b - a):
        return b
    low, high = sorted((a, b), key=str)
    return Expr((((Max(low, high),), 1),))


def is_nonnegative(dim: Dim) -> bool:
    """Whether no value of the symbols makes ``dim`` negative, as far as its signs tell."""
    return all(c > 0 and all(map(_atom_is_nonnegative, m)) for m, c in _terms(dim))


def symbols(dim: Dim) -> set[str]:
    """Names of the symbols in ``dim``."""
    if isinstance(dim, int):
        return set()
    return set().union(*(_atom_symbols(a) for monomial, _ in dim.terms for a in monomial))


def evaluate(dim: Dim, values: Mapping[str, int]) -> int:
    """The integer that ``dim`` is with these symbol values; ``KeyError`` names a missing one."""
    result = substitute(dim, values)
    if not isinstance(result, int):
        raise KeyError(min(symbols(result)))
    return result


def substitute(dim: Dim, values: Mapping[str, Dim]) -> Dim:
    """``dim`` with symbols replaced, in canonical form again."""
    if isinstance(dim, int):
        return dim
    total: Dim = 0
    for monomial, c in dim.terms:
        total = total + product(_substitute_atom(a, values) for a in monomial) * c
    return total


@lru_cache(maxsize=4096)
def parse(text: str) -> Dim:
    """Read what ``str`` of a dim prints. ``ValueError`` on anything else."""
    try:
        return _read(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"not a dim: {text!r}") from error


def _terms(dim: Dim) -> tuple[tuple[Monomial, int], ...]:
    return dim.terms if isinstance(dim, Expr) else ((((), dim),) if dim else ())


def _sum(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for monomial, c in terms:
        total[monomial] = total.get(monomial, 0) + c
    kept = [(m, c) for m, c in total.items() if c]
    if not kept:
        return 0
    if len(kept) == 1 and not kept[0][0]:
        return kept[0][1]
    # Constant last; otherwise by degree, then text: an order that depends on nothing but the sum.
    kept.sort(key=lambda t: (not t[0], -len(t[0]), [str(a) for a in t[0]]))
    return Expr(tuple(kept))


def _as_expr(a: Expr) -> Expr:
    return a


def _opaque(a: int, b: Dim) -> Dim:
    numerator = Expr((((), a),))  # a bare constant stays an expression inside a division
    return Expr((((FloorDiv(numerator, b),), 1),))


def _exact_div(a: Dim, b: Dim) -> Dim | None:
    """``a / b`` where ``b`` is one term that divides every term of ``a``, or equals ``a``."""
    if a == b:
        return 1
    divisor = _terms(b)
    if len(divisor) != 1 or divisor[0][1] == 0:
        return None
    monomial, c = divisor[0]
    out: list[tuple[Monomial, int]] = []
    for m, d in _terms(a):
        rest = _without(m, monomial)
        if rest is None or d % c:
            return None
        out.append((rest, d // c))
    return _sum(out)


def _without(m: Monomial, factors: Monomial) -> Monomial | None:
    rest = list(m)
    for f in factors:
        if f not in rest:
            return None
        rest.remove(f)
    return tuple(rest)


def _floor_div_by_int(a: Expr, b: int) -> Dim:
    """Split off what ``b`` divides, and reduce the rest by common factors:
    ``(b*q + r) // b = q + r // b``; ``(g*x) // (g*b) = x // b``; ``(x // c) // b = x // (c*b)``."""
    whole = _sum((m, c // b) for m, c in a.terms)
    rest = _sum((m, c % b) for m, c in a.terms)
    if isinstance(rest, int):
        return whole + rest // b
    # floor((g*r + e) / (g*b)) = floor(r / b) for a constant 0 <= e < g.
    g = reduce(gcd, (c for m, c in rest.terms if m), b)
    if g > 1:
        rest = _sum((m, c // g) for m, c in rest.terms)
        b //= g
        if b == 1:
            return whole + rest
    assert isinstance(rest, Expr)
    inner = _nested_division(rest, b)
    return whole + (inner if inner is not None else Expr((((FloorDiv(rest, b),), 1),)))


def _nested_division(rest: Expr, b: int) -> Dim | None:
    """``(x // c + k) // b = (x + k*c) // (c*b)``."""
    variable = [(m, c) for m, c in rest.terms if m]
    if len(variable) != 1 or variable[0][1] != 1 or len(variable[0][0]) != 1:
        return None
    atom = variable[0][0][0]
    if not (isinstance(atom, FloorDiv) and isinstance(atom.denominator, int)):
        return None
    constant = next((c for m, c in rest.terms if not m), 0)
    return floor_div(atom.numerator + constant * atom.denominator, atom.denominator * b)


def _atom_symbols(atom: Atom) -> set[str]:
    match atom:
        case Symbol(name):
            return {name}
        case FloorDiv(a, b) | Max(a, b):
            return symbols(a) | symbols(b)


def _atom_is_nonnegative(atom: Atom) -> bool:
    match atom:
        case Symbol():
            return True
        case FloorDiv(a, b):
            return is_nonnegative(a) and is_nonnegative(b)
        case Max(a, b):
            return is_nonnegative(a) or is_nonnegative(b)


def _substitute_atom(atom: Atom, values: Mapping[str, Dim]) -> Dim:
    match atom:
        case Symbol(name):
            return values[name] if name in values else symbol(name)
        case FloorDiv(a, b):
            return floor_div(substitute(a, values), substitute(b, values))
        case Max(a, b):
            return dim_max(substitute(a, values), substitute(b, values))


def _paren(dim: Dim) -> str:
    simple = isinstance(dim, int) or (
        len(dim.terms) == 1
        and dim.terms[0][1] == 1
        and len(dim.terms[0][0]) == 1
        and not isinstance(dim.terms[0][0][0], FloorDiv)
    )
    return str(dim) if simple else f"({dim})"


def _paren_atom(atom: Atom) -> str:
    return f"({atom})" if isinstance(atom, FloorDiv) else str(atom)


def _read(node: ast.expr) -> Dim:
    match node:
        case ast.Constant(value=int(value)) if not isinstance(value, bool):
            return value
        case ast.Name(id=name):
            return symbol(name)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_read(operand)
        case ast.BinOp(left=left, op=op, right=right):
            a, b = _read(left), _read(right)
            match op:
                case ast.Add():
                    return a + b
                case ast.Sub():
                    return a - b
                case ast.Mult():
                    return a * b
                case ast.FloorDiv() if not isinstance(b, int) or b > 0:
                    return floor_div(a, b)
        case ast.Call(func=ast.Name(id="max"), args=[a_node, b_node], keywords=[]):
            return dim_max(_read(a_node), _read(b_node))
    raise ValueError(f"not a dim: {ast.unparse(node)!r}")
