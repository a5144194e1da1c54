"""Dim symbols from the shapes of actual inputs, with every declared shape checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from aivmc.ir.dims import Dim, Expr, Symbol, evaluate
from aivmc.ir.errors import AivmcError
from aivmc.ir.types import TensorType

Bounds = Mapping[str, tuple[int, int | None]]  # symbol -> least and, if there is one, greatest


class InputError(AivmcError):
    """Inputs that don't fit the program's signature."""


def bind_symbols(
    arguments: Sequence[tuple[str, TensorType]],
    shapes: Mapping[str, tuple[int, ...]],
    constraints: Sequence[tuple[Dim, Dim]] = (),
    bounds: Bounds = MappingProxyType({}),
) -> dict[str, int]:
    """The symbols' values for inputs of these shapes.

    A dim that is a symbol binds it; all other dims, the constraints and the bounds are checked.
    ``InputError`` names the input at fault.
    """
    _check_names([name for name, _ in arguments], shapes)
    for name, type in arguments:
        if len(shapes[name]) != type.rank:
            raise _misfit(name, type, shapes[name], f"{type.rank} dims are needed")
    values, binder = _bind(arguments, shapes)
    for name, type in arguments:
        for axis, dim in enumerate(type.shape):
            wanted, why = _evaluate(dim, values, binder)
            if wanted != shapes[name][axis]:
                raise _misfit(name, type, shapes[name], f"dim {axis} must be {wanted}{why}")
    for symbol, (low, high) in bounds.items():
        value = values.get(symbol, low)
        if value < low or (high is not None and value > high):
            limits = f"at least {low}" if high is None else f"in {low}..{high}"
            raise InputError(f"{symbol} must be {limits}, but {binder[symbol]}")
    for a, b in constraints:
        (left, _), (right, why) = _evaluate(a, values, binder), _evaluate(b, values, binder)
        if left != right:
            raise InputError(f"{a} == {b} must hold, but {left} != {right}{why}")
    return values


def _check_names(names: Sequence[str], shapes: Mapping[str, object]) -> None:
    known = f"the inputs are {', '.join(map(repr, names)) or 'none'}"
    for name in shapes:
        if name not in names:
            raise InputError(f"there is no input {name!r}; {known}")
    for name in names:
        if name not in shapes:
            raise InputError(f"input {name!r} is missing; {known}")


def _bind(
    arguments: Sequence[tuple[str, TensorType]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, int], dict[str, str]]:
    """Symbol values, and for each the words that say where it came from."""
    values: dict[str, int] = {}
    binder: dict[str, str] = {}
    for name, type in arguments:
        for dim, size in zip(type.shape, shapes[name]):
            symbol = _bare_symbol(dim)
            if symbol is not None and symbol not in values:
                values[symbol] = size
                binder[symbol] = f"{symbol} is {size} in input {name!r}"
    return values, binder


def _bare_symbol(dim: Dim) -> str | None:
    match dim:
        case Expr(terms=(((Symbol(name),), 1),)):
            return name
    return None


def _evaluate(dim: Dim, values: Mapping[str, int], binder: Mapping[str, str]) -> tuple[int, str]:
    """The dim's value, and why it has that in words."""
    if isinstance(dim, int):
        return dim, ""
    try:
        value = evaluate(dim, values)
    except KeyError as error:
        raise InputError(f"{dim} needs {error.args[0]}, which no input's shape gives") from None
    except ZeroDivisionError:
        raise InputError(f"{dim} divides by zero for {_listed(values)}") from None
    symbol = _bare_symbol(dim)
    return value, f": {binder[symbol]}" if symbol else f": {dim} for {_listed(values)}"


def _listed(values: Mapping[str, int]) -> str:
    return ", ".join(f"{k} = {v}" for k, v in sorted(values.items()))


def _misfit(name: str, type: TensorType, shape: tuple[int, ...], why: str) -> InputError:
    return InputError(f"input {name!r} of type {type} got the shape {list(shape)}: {why}")
