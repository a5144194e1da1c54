"""Writes docs/numerics-f64.md from the definitions in ir/elementary: `make docs`.

A definition is straight-line code against ``Emit``; the page shows it with operators in place of
the emitter's methods. tests/ir/test_numerics_f64.py runs the page.
"""

from __future__ import annotations

import ast
import inspect
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from aivmc.ir.elementary import _common
from aivmc.ir.elementary import power as power_f32
from aivmc.ir.elementary.double import (
    _arithmetic,
    _reduction,
    activation,
    coefficients,
    exponential,
    hyperbolic,
    logarithmic,
    power,
    trigonometric,
)

PAGE = Path(__file__).with_name("numerics-f64.md")

HEAD = """\
# Numerics: elementary functions on f64

Normative, a part of [numerics.md](numerics.md), clause 6. Written by `make docs` from the code;
don't edit. A test runs what stands here and compares its bits with the code's.

Each function is a sequence without branches: every step is computed, and `select` takes one of two
results. The steps are those written, in that order of operands, with these meanings:

- Literals with a point, `inf`, `nan`, and the constants at the end but for TWO_OVER_PI are f64;
  other literals are words, integers modulo 2⁶⁴. A constant of two numbers is a pair, that is
  `(a, b)`. `[…]` is a list: `C[0]` is the first of its elements, `C[1:]` are all but the first,
  and `zip` goes as far as the shorter list.
- On f64: `+`, `-`, `*`, `/`, `fma`, `sqrt`, `trunc`, and `-x` and `abs` are those of clause 1,
  `*` and `/` before `+` and `-`, else from the left; `<`, `<=`, `==` are those of clause 3.
  `2.0**k` is that power, and 6755399441055744.0 is 1.5 · 2⁵²: adding it rounds to an integer.
- On words: `+`, `-`, `*` modulo 2⁶⁴; `<` unsigned; `&`, `|`, `^` bit by bit; `<<` and `>>` shift
  zeros in, and give 0 by 64 or more. On truth values: `&`, `|`, `^`, `~`.
- `select(c, a, b)` is a where c holds, else b. `is_nan(x)` is whether x is NaN.
- `bits_of(x)` is the word with the bits of an f64, `from_bits(w)` the f64 with those of a word;
  `sign_bit_of(x)` is `bits_of(x) & 0x8000000000000000`.
- `horner(C, y)` is, for C of n elements, `C[n - 1]` and then, for i = n - 2, …, 0, `fma(value, y,
  C[i])`.

Bits of a NaN that no `select` replaces don't matter (clause 2).
"""

# What is shown, section by section: title, module, and its functions, or all.
SECTIONS: tuple[tuple[str, ModuleType, tuple[str, ...]], ...] = (
    (
        "Bounds, signs, domains",
        _common,
        (
            *("at_most", "at_least", "clamp", "with_sign_of", "flip_by_sign_of"),
            *("nan_where_nan", "one_nan", "at_domain_edges"),
        ),
    ),
    ("Pairs and powers of two", _arithmetic, ()),
    ("exp, exp2, expm1", exponential, ()),
    ("Splitting for logarithms", _common, ("split_logarithm",)),
    ("log, log2, log10, log1p", logarithmic, ()),
    ("sinh, cosh, tanh, asinh, acosh, atanh", hyperbolic, ()),
    ("Cases of pow", power_f32, ("with_cases_of_pow",)),
    ("rsqrt, pow", power, ()),
    ("Reduction by quarter turns", _reduction, ()),
    ("sin, cos, tan, asin, acos, atan", trigonometric, ()),
    ("Activations, erf", activation, ()),
)
_NOTATION = {"u64", "constant_pair"}  # functions that only make literals

_BINARY: dict[str, ast.operator] = {
    "add": ast.Add(),
    "sub": ast.Sub(),
    "mul": ast.Mult(),
    "div": ast.Div(),
    "and_": ast.BitAnd(),
    "or_": ast.BitOr(),
    "xor": ast.BitXor(),
    "shl": ast.LShift(),
    "shr": ast.RShift(),
}
_COMPARE: dict[str, ast.cmpop] = {"lt": ast.Lt(), "le": ast.LtE(), "eq": ast.Eq()}
_UNARY: dict[str, ast.unaryop] = {"neg": ast.USub(), "not_": ast.Invert()}
_LITERALS = {"f64": 1, "u64": 1, "constant_pair": 1, "like": 2}  # and where the value stands


def page() -> str:
    """The whole of docs/numerics-f64.md."""
    parts = [HEAD]
    for title, module, names in SECTIONS:
        functions = [show(f) for f in functions_of(module, names)]
        parts.append(f"## {title}\n\n```text\n" + "\n\n".join(functions) + "\n```\n")
    parts.append("## Constants\n\n```text\n" + "\n".join(_constants()) + "\n```\n")
    return "\n".join(parts)


def functions_of(module: ModuleType, names: tuple[str, ...] = ()) -> list[Callable[..., Any]]:
    """The functions that a module defines, in order; only those of these names, if any."""
    found = [f for f in vars(module).values() if inspect.isfunction(f)]
    own = [f for f in found if f.__module__ == module.__name__ and f.__name__ not in _NOTATION]
    return [f for f in own if not names or f.__name__ in names]


def show(function: Callable[..., Any]) -> str:
    """A definition in the page's notation, what its docstring says above it."""
    (definition,) = ast.parse(inspect.getsource(function)).body
    assert isinstance(definition, ast.FunctionDef)
    comment = ast.get_docstring(definition)
    body = definition.body[1:] if comment else definition.body
    notation = _Notation(vars(inspect.getmodule(function)))
    lines = [ast.unparse(notation.visit(statement)) for statement in body]
    arguments = ", ".join(a.arg for a in definition.args.args if a.arg != "e")
    told = [f"# {line}".rstrip() for line in (comment or "").replace("``", "").splitlines()]
    code = [f"{function.__name__}({arguments}):", *(f"    {line}" for line in lines)]
    return "\n".join([*told, *code]).replace(":func:", "")


class _Notation(ast.NodeTransformer):
    """Calls of the emitter as operators, constants as literals."""

    def __init__(self, names: dict[str, Any]) -> None:
        self._names = names

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        node.value = self._literal(node.value) or self.visit(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        match node.func:
            case ast.Attribute(value=ast.Name(id="e"), attr=method):
                return self._operation(method, node.args)
            case ast.Name(id=name) if name in _LITERALS:
                value = node.args[_LITERALS[name]]
                return self._literal(value) or value
            case ast.Name(id="less"):
                return self._comparison("lt", node.args[1:])
            case ast.Name(id="greater"):
                return self._comparison("lt", node.args[:0:-1])
        arguments = [a for a in node.args if not (isinstance(a, ast.Name) and a.id == "e")]
        return ast.Call(node.func, [self._literal(a) or self.visit(a) for a in arguments], [])

    def _operation(self, method: str, arguments: list[ast.expr]) -> ast.AST:
        if method == "const":
            return self._literal(arguments[0]) or arguments[0]
        if method == "bitcast":
            to_word = ast.unparse(arguments[1]).endswith("U64")
            name = "bits_of" if to_word else "from_bits"
            return ast.Call(ast.Name(name), [self.visit(arguments[0])], [])
        if method in _COMPARE:
            return self._comparison(method, arguments)
        operands = [self.visit(a) for a in arguments]
        if method in _BINARY:
            left, right = (_set_off(x, _BINARY[method]) for x in operands)
            return ast.BinOp(left, _BINARY[method], right)
        if method in _UNARY:
            return ast.UnaryOp(_UNARY[method], operands[0])
        return ast.Call(ast.Name(method), operands, [])

    def _comparison(self, method: str, arguments: list[ast.expr]) -> ast.AST:
        left, right = (self._literal(a) or _set_off(self.visit(a)) for a in arguments)
        return ast.Compare(left, [_COMPARE[method]], [right])

    def _literal(self, node: ast.expr) -> ast.expr | None:
        """A number that the code knows, but not one of the page's constants."""
        if any(isinstance(n, ast.Name) and n.id in _NAMED for n in ast.walk(node)):
            return None
        try:
            value = eval(compile(ast.Expression(node), "", "eval"), {**self._names})
        except (NameError, TypeError):
            return None
        if type(value) not in (int, float):
            return None
        return ast.Name(number(value))


def _set_off(operand: ast.expr, outer: ast.operator | None = None) -> ast.expr:
    """The operand in parentheses, but for products in sums, and what is as high as ``outer``."""
    if not isinstance(operand, ast.BinOp | ast.Compare):
        return operand
    inner = operand.op if isinstance(operand, ast.BinOp) else None
    sums, products = (ast.Add, ast.Sub), (ast.Mult, ast.Div)
    if isinstance(outer, sums) and isinstance(inner, sums + products):
        return operand
    if isinstance(outer, products) and isinstance(inner, products):
        return operand
    return ast.Name(f"({ast.unparse(operand)})")


_NAMED = {name for name in vars(coefficients) if name.isupper()}


def number(value: float) -> str:
    """A literal of the page."""
    if isinstance(value, int):
        return str(value) if value < 2**12 else hex(value)
    mantissa, exponent = math.frexp(value) if math.isfinite(value) else (0.0, 0)
    if abs(mantissa) == 0.5 and abs(exponent) > 12:
        return f"{'-' * (value < 0)}2.0**{exponent - 1}"
    return repr(value)


def _constants() -> Iterable[str]:
    for name, values in vars(coefficients).items():
        if name in _NAMED:
            texts = [f"{v:#018x}" if isinstance(v, int) else v.hex() for v in values]
            lines = [" ".join(texts[i : i + 4]) for i in range(0, len(texts), 4)]
            yield f"{name} " + ("\n" + " " * (len(name) + 1)).join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
