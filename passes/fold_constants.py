"""After this pass no op of moderate size is left whose operands are all constants.

Values are computed by the ops' reference semantics, so folding never changes a bit, and an op
whose order is not fixed yet is not folded. NaNs made on the way become the canonical one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from aivmc.ir.constants import Array
from aivmc.ir.core import Module, Op
from aivmc.ir.definition import definition
from aivmc.ir.types import DType, TensorType
from aivmc.passes.identity import attribute_symbols
from aivmc.passes.legality import is_ordered, require_stage
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter


@dataclass(frozen=True)
class FoldConstants(RewritePass):
    """Compute what depends on constants only.

    ``limit``: bytes up to which a result may be larger than the operands that it replaces.
    """

    name: ClassVar[str] = "fold-constants"
    limit: int = 1 << 16

    def requires(self, module: Module) -> None:
        require_stage(module, "det", "canonical")

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name == "det.constant":
            return NoMatch("is a constant")
        if op.name == "det.stream_key":
            return NoMatch("depends on the seed")
        if op.regions:
            return self._rewrite_if(op, b)
        constants = [b.constant_of(v) for v in op.operands]
        loaded = [c for c in constants if c is not None and c.is_loaded]
        if len(loaded) < len(constants):
            return NoMatch("an operand is not a constant")
        if not is_ordered(op):
            return NoMatch("its order is not fixed")
        if not _is_static(op):
            return NoMatch("has a symbolic dim")
        if _bytes(v.tensor for v in op.results) > self.limit + _bytes(c.type for c in loaded):
            return NoMatch("the result is too large")
        return tuple(b.constant(array) for array in evaluate(op, [c.data for c in loaded]))

    def _rewrite_if(self, op: Op, b: Rewriter) -> Results | NoMatch:
        """``if`` of a constant is the region that it takes."""
        condition = b.constant_of(op.operands[0]) if op.name == "det.if" else None
        if condition is None or not condition.is_loaded:
            return NoMatch("has regions, and its condition is not a constant")
        return b.inline(op.regions[0 if condition.data.item() else 1], op.operands[1:])


def evaluate(op: Op, operands: Sequence[Array]) -> tuple[Array, ...]:
    """The results by the reference semantics, with no NaN but the canonical one."""
    results = definition(op.name).reference(*operands, **op.attributes)
    arrays = results if isinstance(results, tuple) else (results,)
    return tuple(canonical_nan(array) for array in arrays)


def canonical_nan(array: Array) -> Array:
    """``array`` with the canonical NaN for every NaN."""
    if not DType.of(array.dtype).is_float:
        return array
    result = definition("det.canonical_nan").reference(array)
    assert not isinstance(result, tuple)
    return result


def _is_static(op: Op) -> bool:
    symbolic = any(attribute_symbols(value) for value in op.attributes.values())
    return not symbolic and all(v.tensor.is_static for v in op.results)


def _bytes(types: Iterable[TensorType]) -> int:
    return sum(_count(t) * t.dtype.numpy.itemsize for t in types)


def _count(type: TensorType) -> int:
    assert isinstance(type.size, int)
    return type.size
