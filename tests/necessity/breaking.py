"""Ways to break the compiler under a test, and broken versions of its pieces."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

import pytest
from tvm import tirx

from aivmc.backends.cpu import entry, generate, llvm
from aivmc.backends.cpu.audit import AuditReport, audit_ir
from aivmc.backends.cpu.code import Code, ScopedEmit
from aivmc.backends.cpu.lower import lower as lower_op
from aivmc.backends.cpu.schedules import direct, inner_product, order
from aivmc.backends.tir_emit import TirEmit, i64
from aivmc.ir.core import Op
from aivmc.ir.definition import definition
from aivmc.ir.elementary import _common, exponential
from aivmc.ir.elementary.coefficients import EXP2_EIGHTH
from aivmc.ir.ops._index import linearize
from aivmc.ir.types import DType

Break = Callable[[pytest.MonkeyPatch], None]


def sets(owner: Any, name: str, value: Any) -> Break:
    """Something is something else."""
    return lambda patch: patch.setattr(owner, name, value)


def emits(name: str, operation: Callable[..., Any]) -> Break:
    """Code has ``operation(emit, original, *operands)`` for an operation of ``Emit``."""
    unscoped, scoped = getattr(TirEmit, name), getattr(ScopedEmit, name)

    def broken(original: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(original)
        def method(self: Any, *operands: Any) -> Any:
            return operation(self, lambda *xs: original(self, *xs), *operands)

        return method

    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(TirEmit, name, broken(unscoped))
        patch.setattr(ScopedEmit, name, broken(scoped))

    return apply


def defines(op: str, scalar: Callable[..., Any], method: str = "scalar") -> Break:
    """An op is defined otherwise."""

    def broken(self: Any, emit: Any, *xs: Any, **attributes: Any) -> Any:
        return scalar(emit, *xs, **attributes)

    return sets(type(definition(f"det.{op}")), method, broken)


def changes(kind: str, name: str, value: Callable[[Op], Any]) -> Break:
    """Ops whose names begin so are compiled as if an attribute were another."""
    original = lower_op

    def lower(function: str, op: Op, *rest: Any) -> Any:
        for inner in op.regions[0].ops:
            if inner.name.startswith(f"det.{kind}") and name in inner.attributes:
                inner.attributes = {**inner.attributes, name: value(inner)}
        return original(function, op, *rest)

    return sets(generate, "lower", lower)


def rewrites(pattern: str, text: str, unseen: str = "", audited: bool = True) -> Break:
    """LLVM IR has ``text`` for ``pattern``. The audit of IR doesn't see the word ``unseen``; if not
    ``audited``, nobody looks at anything."""
    original = llvm._optimized

    def rewritten(*arguments: Any) -> str:
        return re.sub(pattern, text, original(*arguments))

    def audit(ir: str) -> AuditReport:
        return audit_ir(ir.replace(unseen, "")) if audited else AuditReport({})

    def apply(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(llvm, "_optimized", rewritten)
        if unseen or not audited:
            patch.setattr(llvm, "audit_ir", audit)
            patch.setattr(generate, "audit_ir", audit)
        if not audited:
            patch.setattr(generate, "audit_machine_code", lambda *_: {})

    return apply


# For `emits`: (emit, original, operands).


def split_fma(emit: Any, original: Any, a: Any, b: Any, c: Any) -> Any:
    product = original(a, b, emit.const(-0.0, emit.dtype(a)))
    return original(product, emit.const(1.0, emit.dtype(a)), c)


def zero_not_added(emit: Any, original: Any, a: Any, b: Any) -> Any:
    return a if isinstance(b, tirx.FloatImm) and b.value == 0 else original(a, b)


def zeros_unordered(emit: Any, original: Any, a: Any, b: Any) -> Any:
    if not emit.dtype(a).is_float:
        return original(a, b)
    return emit.select(emit.is_nan(b), b, emit.select(emit.lt(a, b), b, a))


def numbers_win(emit: Any, original: Any, a: Any, b: Any) -> Any:
    if not emit.dtype(a).is_float:
        return original(a, b)
    return emit.select(emit.is_nan(a), b, emit.select(emit.is_nan(b), a, original(a, b)))


def unordered_less(emit: Any, original: Any, a: Any, b: Any) -> Any:
    if not emit.dtype(a).is_float:
        return original(a, b)
    return emit.or_(original(a, b), emit.or_(emit.is_nan(a), emit.is_nan(b)))


def wrapping_cast(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    by_i64 = emit.dtype(x).is_float and dtype.is_integer and dtype.bits < 64
    return original(original(x, DType.I64), dtype) if by_i64 else original(x, dtype)


def nan_is_least(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    result = original(x, dtype)
    if not emit.dtype(x).is_float or dtype is not DType.I32:
        return result
    return emit.select(emit.is_nan(x), emit.const(-(1 << 31), dtype), result)


def f16_by_f32(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    by_f32 = emit.dtype(x) is DType.F64 and dtype.is_float and dtype.bits == 16
    return original(original(x, DType.F32), dtype) if by_f32 else original(x, dtype)


def f32_by_f64(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    by_f64 = emit.dtype(x) is DType.I64 and dtype is DType.F32
    return original(original(x, DType.F64), dtype) if by_f64 else original(x, dtype)


def f8_by_f16(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    by_f16 = emit.dtype(x) is DType.F64 and dtype is DType.F8E4M3FN
    return original(original(x, DType.F16), dtype) if by_f16 else original(x, dtype)


def f8_saturates(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    if emit.dtype(x) is not DType.F32 or dtype is not DType.F8E4M3FN:
        return original(x, dtype)
    high, low = (emit.const(limit, DType.F32) for limit in (448.0, -448.0))
    return original(emit.maximum(emit.minimum(x, high), low), dtype)


def f8_truncates(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    """The two bits of the fraction that f8e5m2 keeps are those that f32 has."""
    if emit.dtype(x) is not DType.F32 or dtype is not DType.F8E5M2:
        return original(x, dtype)
    kept = emit.and_(emit.bitcast(x, DType.U32), emit.const(0xFFE0_0000, DType.U32))
    return original(emit.bitcast(kept, DType.F32), dtype)


def i4_saturates(emit: Any, original: Any, x: Any, dtype: DType) -> Any:
    if emit.dtype(x) is not DType.I8 or dtype is not DType.I4:
        return original(x, dtype)
    high, low = (emit.const(limit, DType.I8) for limit in (7, -8))
    return original(emit.maximum(emit.minimum(x, high), low), dtype)


def division_by_zero(emit: Any, original: Any, a: Any, b: Any) -> Any:
    result, dtype = original(a, b), emit.dtype(a)
    if dtype.is_float:
        return result
    return emit.select(emit.eq(b, emit.const(0, dtype)), a, result)


def count_modulo_width(emit: Any, original: Any, a: Any, b: Any) -> Any:
    return original(a, emit.and_(b, emit.const(emit.dtype(b).bits - 1, emit.dtype(b))))


# Definitions.


def relu_by_maximum(emit: Any, x: Any) -> Any:
    return emit.maximum(x, emit.const(0, emit.dtype(x)))


def rsqrt_in_f32(emit: Any, x: Any) -> Any:
    return emit.div(emit.const(1.0, emit.dtype(x)), emit.sqrt(x))


def exp_by_f32(emit: Any, x: Any) -> Any:
    narrow = emit.cast(x, DType.F32)
    return emit.cast(exponential.exp(emit, narrow), emit.dtype(x))


def library_exp(emit: Any, x: Any) -> Any:
    return emit._call("llvm.exp", x)


def narrow_fma(emit: Any, a: Any, b: Any, c: Any) -> Any:
    """Of f16 and bf16 the product is rounded before the sum."""
    dtype = emit.dtype(a)
    if dtype.bits > 16:
        return emit.fma(a, b, c)
    a, b, c = (emit.cast(x, DType.F32) for x in (a, b, c))
    product = emit.cast(emit.cast(emit.mul(a, b), dtype), DType.F32)
    return emit.cast(emit.add(product, c), dtype)


def approximate_exp(patch: pytest.MonkeyPatch) -> None:
    """Right to better than 0.501 units in the last place."""
    patch.setattr(_common, "EXP2_EIGHTH", EXP2_EIGHTH[:-1])


def modulo_axis(emit: Any, i: Any, dim: Any) -> Any:
    return ((i % emit.dim(dim)) + emit.dim(dim)) % emit.dim(dim)


def place_in_task(emit: Any, index: Any, dims: Any) -> Any:
    return linearize(emit, index, dims) % emit.dim(8)


# Schedules and the entry.


def sequential(op: Op) -> str:
    return "exact" if op.attributes["order"] == "exact" else "seq"


def half_block(op: Op) -> int:
    return int(op.attributes["block"]) // 2


def half_block_of_many_rows(op: Op) -> int:
    return half_block(op) if op.operands[0].tensor.shape[0] != 1 else int(op.attributes["block"])


def narrow_accumulators(patch: pytest.MonkeyPatch) -> None:
    """The accumulator of f16 is rounded to f16 at every element."""
    original = order.combine_of

    def combine_of(op: Op) -> order.Combine:
        combine = original(op)
        if op.operands[0].tensor.dtype is not DType.F16:
            return combine

        def enter(emit: Any, total: Any, x: Any) -> Any:
            return emit.cast(emit.cast(combine.enter(emit, total, x), DType.F16), DType.F32)

        return replace(combine, enter=enter)

    patch.setattr(order, "combine_of", combine_of)


def neighbouring_lanes(code: Code, emit: Any, combine: order.Combine, lanes: Any) -> Any:
    """Lane 2l with 2l + 1, where it should be l with l + 8."""
    width = 16
    while width > 1:
        width //= 2
        even, odd = (
            tirx.Shuffle([lanes], [tirx.IntImm("int32", 2 * k + at) for k in range(width)])
            for at in (0, 1)
        )
        lanes = code.bind(combine.merge(emit, even, odd))
    return lanes


def accumulates(step: Callable[..., Any]) -> Break:
    """A contraction's step is ``step(emit, a, b, total)``."""

    def broken(self: Any, code: Code, chain: Any, a: Any, b: Any) -> None:
        dtype = self.accumulator
        a, b = (code.bind(self.emit.cast(x, dtype)) for x in (a, b))
        chain.store(code, i64(0), step(self.emit, a, b, code.bind(chain.load(i64(0)))))

    return sets(direct.Direct, "_accumulate", broken)


def skipping_zeros(emit: Any, a: Any, b: Any, total: Any) -> Any:
    dtype = emit.dtype(a)
    if not dtype.is_float:
        return emit.add(total, emit.mul(a, b))
    return emit.select(emit.eq(a, emit.const(0, dtype)), total, emit.fma(a, b, total))


def saturating(patch: pytest.MonkeyPatch) -> None:
    """What integers are multiplied to, and added to, stays within 16 bits."""
    pairs = inner_product._multiplied_pairs

    def clamped(emit: Any, x: Any) -> Any:
        x = emit.minimum(x, emit.const(32767, emit.dtype(x)))
        return emit.maximum(x, emit.const(-32768, emit.dtype(x)))

    def less(emit: Any, old: Any, product: Any) -> Any:
        return clamped(emit, emit.sub(old, product))

    patch.setattr(inner_product, "_less", less)
    patch.setattr(
        inner_product, "_multiplied_pairs", lambda emit, *xs: clamped(emit, pairs(emit, *xs))
    )


def descending(patch: pytest.MonkeyPatch) -> None:
    """Loops run from their end."""
    original = Code.loop

    def loop(self: Code, extent: Any, body: Callable[[Code, Any], None]) -> None:
        last = extent - 1
        original(self, extent, lambda scope, i: body(scope, scope.bind(last - i)))

    patch.setattr(Code, "loop", loop)


def callers_environment(self: Any, b: Any) -> Any:
    saved = b.alloca(entry._I32)
    entry._call_intrinsic(b, "llvm.x86.sse.stmxcsr", entry._VOID, saved)
    return saved
