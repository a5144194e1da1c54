"""Fused multiply-add for a processor without one, in LLVM IR, with the same bits.

LLVM would call a library function for each element. This is f64 arithmetic with round to odd, after
Boldo and Melquiond ("Emulation of FMA and correctly rounded sums", 2008); f64 operands whose error
terms could leave the range go through 192-bit integers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir

_PREFIX = "aivm."
_F64, _F32 = ir.DoubleType(), ir.FloatType()
_I192, _I128, _I64, _I32, _I1 = map(ir.IntType, (192, 128, 64, 32, 1))
_SPLITTER = 2.0**27 + 1

_FMA = re.compile(r"@llvm\.fma\.(?:v(\d+))?(f32|f64)\(")

Body = Callable[[ir.IRBuilder, Sequence[ir.Value]], ir.Value]


def without_fma(text: str, machine: Any) -> str:
    """The module ``text`` with functions of its own in place of ``llvm.fma``, optimized for the
    target of ``machine``."""
    library = _Library(text)
    module = llvm.parse_assembly(_FMA.sub(library.fma, text))
    module.link_in(llvm.parse_assembly(str(library.module)))
    # What the inlined bodies have in common is computed once.
    passes = llvm.create_new_module_pass_manager()
    passes.add_always_inliner_pass()
    passes.add_new_gvn_pass()
    passes.add_global_dead_code_eliminate_pass()
    passes.run(module, llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options()))
    module.verify()
    return str(module)


class _Library:
    """The functions that a module needs, defined as they are asked for."""

    def __init__(self, text: str) -> None:
        self.module = ir.Module("soft")
        target = dict(re.findall(r'^target (datalayout|triple) = "(.*)"$', text, re.MULTILINE))
        self.module.data_layout, self.module.triple = target["datalayout"], target["triple"]

    def fma(self, found: re.Match[str]) -> str:
        """The call of the function that does what ``found`` calls."""
        kind = _shape(_F32 if found[2] == "f32" else _F64, int(found[1] or 1))
        return f"@{self._function('fma', kind, self._fma_by_pieces, inline=True).name}("

    def _function(self, name: str, kind: ir.Type, body: Body, inline: bool = False) -> ir.Function:
        name = f"{_PREFIX}{name}.{_suffix(kind)}"
        if name not in self.module.globals:
            function = ir.Function(self.module, ir.FunctionType(kind, [kind] * 3), name)
            # Modules that are linked later share it.
            function.linkage, function.visibility = "linkonce_odr", "hidden"
            function.attributes.add("alwaysinline" if inline else "noinline")
            b = ir.IRBuilder(function.append_basic_block("start"))
            b.ret(body(b, function.args))
        return self.module.globals[name]

    def _fma_by_pieces(self, b: ir.IRBuilder, operands: Sequence[ir.Value]) -> ir.Value:
        """Two lanes at a time: a register holds no more of f64."""
        kind = operands[0].type
        result: ir.Value = ir.Constant(kind, ir.Undefined)
        for first in range(0, _lanes(kind), 2):
            lanes = range(first, min(first + 2, _lanes(kind)))
            done = self._fma_piece(b, [_take(b, x, lanes) for x in operands])
            result = _put(b, done, lanes, result)
        return result

    def _fma_piece(self, b: ir.IRBuilder, operands: Sequence[ir.Value]) -> ir.Value:
        kind = operands[0].type
        if _like(kind, _F32) == kind:
            return _fma_f32(b, operands)
        return b.call(self._function("fma.long", kind, self._fma_f64), operands)

    def _fma_f64(self, b: ir.IRBuilder, operands: Sequence[ir.Value]) -> ir.Value:
        """By error terms, unless an operand of some lane is out of their range."""
        quick, usable = _fma_by_error_terms(b, operands)
        kind = quick.type
        packed = b.bitcast(usable, ir.IntType(_lanes(kind)))
        start = b.block
        rare, done = b.append_basic_block("rare"), b.append_basic_block("done")
        b.cbranch(b.icmp_unsigned("==", packed, ir.Constant(packed.type, -1)), done, rare)
        b.position_at_end(rare)
        exactly = self._function("fma.exactly", _F64, _fma_by_integers)
        exact: ir.Value = ir.Constant(kind, ir.Undefined)
        for lane in range(_lanes(kind)):
            one = range(lane, lane + 1)
            exact = _put(b, b.call(exactly, [_take(b, x, one) for x in operands]), one, exact)
        b.branch(done)
        b.position_at_end(done)
        result = b.phi(kind)
        result.add_incoming(quick, start)
        result.add_incoming(exact, rare)
        return result


def _fma_f32(b: ir.IRBuilder, operands: Sequence[ir.Value]) -> ir.Value:
    """The f64 product of two f32 is exact; its sum, rounded to odd, rounds once to f32."""
    x, y, z = (b.fpext(v, _like(v.type, _F64)) for v in operands)
    return b.fptrunc(_add_to_odd(b, b.fmul(x, y), z), operands[0].type)


def _fma_by_error_terms(b: ir.IRBuilder, operands: Sequence[ir.Value]) -> tuple[ir.Value, ir.Value]:
    """The result, and where it is right: where no step overflows and each error is a float."""
    x, y, z = operands
    product, low = _two_product(b, x, y)
    mid, last = _two_sum(b, z, low)
    total, rest = _two_sum(b, product, mid)
    result = b.fadd(total, _add_to_odd(b, last, rest))
    zero = _constant(x.type, 0.0)
    # Exact; the sign of a sum of zeros is only in the sum itself.
    result = b.select(b.fcmp_ordered("==", product, zero), b.fadd(product, z), result)
    size = _magnitude(b, product)
    usable = b.and_(
        b.fcmp_ordered(">=", size, _constant(x.type, 2.0**-900)),
        b.fcmp_ordered("<=", size, _constant(x.type, 2.0**900)),
    )
    for factor in (x, y):
        usable = b.or_(usable, b.fcmp_ordered("==", factor, zero))
    for operand in operands:
        small = b.fcmp_ordered("<=", _magnitude(b, operand), _constant(x.type, 2.0**900))
        usable = b.and_(usable, small)
    return result, usable


def _two_sum(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Knuth: the sum rounded, and its exact error."""
    total = b.fadd(x, y)
    y_part = b.fsub(total, x)
    x_error = b.fsub(x, b.fsub(total, y_part))
    return total, b.fadd(x_error, b.fsub(y, y_part))


def _two_product(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Dekker: the product rounded, and its exact error."""
    product = b.fmul(x, y)
    (x_high, x_low), (y_high, y_low) = _split(b, x), _split(b, y)
    error = b.fsub(b.fmul(x_high, y_high), product)
    for one, other in ((x_high, y_low), (x_low, y_high), (x_low, y_low)):
        error = b.fadd(error, b.fmul(one, other))
    return product, error


def _split(b: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Veltkamp: 26 high bits and the rest."""
    scaled = b.fmul(_constant(x.type, _SPLITTER), x)
    high = b.fsub(scaled, b.fsub(scaled, x))
    return high, b.fsub(x, high)


def _add_to_odd(b: ir.IRBuilder, x: ir.Value, y: ir.Value) -> ir.Value:
    """The sum; if it is inexact, the neighbour of the exact sum whose last bit is 1."""
    nearest, error = _two_sum(b, x, y)
    integers = _like(x.type, _I64)
    bits = b.bitcast(nearest, integers)
    zero, one = _constant(integers, 0), _constant(integers, 1)
    towards_zero = b.icmp_signed("<", b.xor(bits, b.bitcast(error, integers)), zero)
    truncated = b.add(bits, b.select(towards_zero, _constant(integers, -1), zero))
    inexact = b.fcmp_ordered("!=", error, _constant(x.type, 0.0))
    return b.bitcast(b.select(inexact, b.or_(truncated, one), bits), x.type)


def _fma_by_integers(b: ir.IRBuilder, operands: Sequence[ir.Value]) -> ir.Value:
    """For every f64: both terms as integers with a common exponent, added and rounded once."""
    x, y, z = operands
    (mx, ex), (my, ey), (mz, ez) = (_mantissa(b, v) for v in operands)
    product, e = b.mul(b.zext(mx, _I128), b.zext(my, _I128)), b.add(ex, ey)
    no_z = b.icmp_unsigned("==", mz, _i64(0))
    # Beyond these distances the smaller term only decides that the result is inexact.
    distance = b.select(no_z, _i64(0), _clamp(b, b.sub(e, ez), -110, 56))
    above = b.icmp_signed(">=", distance, _i64(0))
    up, down = b.select(above, distance, _i64(0)), b.select(above, _i64(0), b.neg(distance))
    term = b.shl(b.zext(product, _I192), b.zext(up, _I192))
    addend = b.shl(b.zext(mz, _I192), b.zext(down, _I192))
    e = b.select(above, b.sub(e, up), b.sub(ez, down))
    sign = b.xor(_sign(b, x), _sign(b, y))
    total = b.add(_signed(b, term, sign), _signed(b, addend, _sign(b, z)))
    negative = b.icmp_signed("<", total, ir.Constant(_I192, 0))
    bits = _round(b, _signed(b, total, negative), e)
    bits = b.or_(bits, b.shl(b.zext(negative, _I64), _i64(63)))
    return _where_special(b, operands, b.bitcast(bits, _F64))


def _where_special(b: ir.IRBuilder, operands: Sequence[ir.Value], result: ir.Value) -> ir.Value:
    """IEEE's own result where an operand is infinite, NaN, or a factor zero."""
    x, y, z = operands
    zero, largest = (
        ir.Constant(_F64, 0.0),
        ir.Constant(_F64, float.fromhex("0x1.fffffffffffffp1023")),
    )
    finite = [b.fcmp_ordered("<=", _magnitude(b, v), largest) for v in operands]
    result = b.select(finite[2], result, z)
    some_zero = b.or_(b.fcmp_ordered("==", x, zero), b.fcmp_ordered("==", y, zero))
    plain = b.or_(some_zero, b.not_(b.and_(finite[0], finite[1])))
    return b.select(plain, b.fadd(b.fmul(x, y), z), result)


def _mantissa(b: ir.IRBuilder, x: ir.Value) -> tuple[ir.Value, ir.Value]:
    """``m`` of 53 bits and ``e`` with ``|x| = m * 2^e``; m is 0 for 0."""
    bits = b.bitcast(x, _I64)
    fraction = b.and_(bits, _i64((1 << 52) - 1))
    field = b.and_(b.lshr(bits, _i64(52)), _i64(0x7FF))
    subnormal = b.icmp_unsigned("==", field, _i64(0))
    mantissa = b.select(subnormal, fraction, b.or_(fraction, _i64(1 << 52)))
    shift = b.sub(b.ctlz(mantissa, ir.Constant(_I1, 0)), _i64(11))
    exponent = b.sub(b.select(subnormal, _i64(1), field), b.add(shift, _i64(1075)))
    return b.shl(mantissa, shift), exponent


def _round(b: ir.IRBuilder, magnitude: ir.Value, exponent: ir.Value) -> ir.Value:
    """The bits of the f64 nearest to ``magnitude * 2^exponent``, ties to even."""
    length = b.sub(_i64(192), b.trunc(b.ctlz(magnitude, ir.Constant(_I1, 0)), _I64))
    # A mantissa has 53 bits; the last one is 2^-1074 at least.
    excess, least = b.sub(length, _i64(53)), b.sub(_i64(-1074), exponent)
    drop = b.select(b.icmp_signed(">", excess, least), excess, least)
    exponent = b.add(exponent, drop)
    left = b.zext(b.select(b.icmp_signed("<", drop, _i64(0)), b.neg(drop), _i64(0)), _I192)
    drop = b.zext(_clamp(b, drop, 0, 180), _I192)
    magnitude = b.shl(magnitude, left)
    one = ir.Constant(_I192, 1)
    kept = b.lshr(magnitude, drop)
    rest = b.sub(magnitude, b.shl(kept, drop))
    twice = b.shl(rest, one)
    unit = b.shl(one, drop)
    odd = b.trunc(kept, _I1)
    tie = b.icmp_unsigned("==", twice, unit)
    upwards = b.or_(b.icmp_unsigned(">", twice, unit), b.and_(tie, odd))
    rounded = b.add(b.trunc(kept, _I64), b.zext(upwards, _I64))
    # The leading bit, if there is one, adds 1 to the exponent's field.
    field = _clamp(b, b.add(exponent, _i64(1074)), 0, 2046)
    bits = b.add(rounded, b.shl(field, _i64(52)))
    infinity = _i64(0x7FF << 52)
    bits = b.select(b.icmp_unsigned("<", bits, infinity), bits, infinity)
    return b.select(b.icmp_unsigned("==", magnitude, ir.Constant(_I192, 0)), _i64(0), bits)


def _magnitude(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    integers = _like(x.type, _I64)
    return b.bitcast(b.and_(b.bitcast(x, integers), _constant(integers, (1 << 63) - 1)), x.type)


def _sign(b: ir.IRBuilder, x: ir.Value) -> ir.Value:
    return b.icmp_signed("<", b.bitcast(x, _I64), _i64(0))


def _signed(b: ir.IRBuilder, x: ir.Value, negative: ir.Value) -> ir.Value:
    return b.select(negative, b.neg(x), x)


def _clamp(b: ir.IRBuilder, x: ir.Value, low: int, high: int) -> ir.Value:
    x = b.select(b.icmp_signed("<", x, _i64(low)), _i64(low), x)
    return b.select(b.icmp_signed(">", x, _i64(high)), _i64(high), x)


def _take(b: ir.IRBuilder, x: ir.Value, lanes: range) -> ir.Value:
    """These lanes of ``x``, as a vector of their own, or a scalar if it is one lane."""
    if len(lanes) == _lanes(x.type):
        return x
    if len(lanes) == 1:
        return b.extract_element(x, _i32(lanes.start))
    wanted = ir.Constant(ir.VectorType(_I32, len(lanes)), list(lanes))
    return b.shuffle_vector(x, ir.Constant(x.type, ir.Undefined), wanted)


def _put(b: ir.IRBuilder, x: ir.Value, lanes: range, into: ir.Value) -> ir.Value:
    """``into`` with ``x`` at these lanes."""
    if len(lanes) == _lanes(into.type):
        return x
    for i, lane in enumerate(lanes):
        into = b.insert_element(into, _take(b, x, range(i, i + 1)), _i32(lane))
    return into


def _lanes(kind: ir.Type) -> int:
    return kind.count if isinstance(kind, ir.VectorType) else 1


def _shape(element: ir.Type, lanes: int) -> ir.Type:
    return element if lanes == 1 else ir.VectorType(element, lanes)


def _like(kind: ir.Type, element: ir.Type) -> ir.Type:
    return _shape(element, kind.count) if isinstance(kind, ir.VectorType) else element


def _suffix(kind: ir.Type) -> str:
    if isinstance(kind, ir.VectorType):
        return f"v{kind.count}{_suffix(kind.element)}"
    return "f32" if kind == _F32 else "f64"


def _constant(kind: ir.Type, value: float) -> ir.Constant:
    return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)


def _i64(value: int) -> ir.Constant:
    return ir.Constant(_I64, value)


def _i32(value: int) -> ir.Constant:
    return ir.Constant(_I32, value)
