"""Divisions by powers of two become multiplications, which are faster and give the same bits.

x / 2^k and x * 2^-k are the same real number rounded once, whatever x is.
"""

from dataclasses import dataclass
from math import frexp
from typing import ClassVar

import numpy as np

from aivmc.ir.core import Module, Op
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter

__version__ = "1.0"


@dataclass(frozen=True)
class MultiplyByReciprocal(RewritePass):
    """Turn x / 2^k into x * 2^-k for f32 and constant k.

    ``largest``: the largest k or -k, at most 126 so that both powers are normal numbers.
    """

    name: ClassVar[str] = "multiply-by-reciprocal"
    largest: int = 126

    def requires(self, module: Module) -> None:
        if not 0 <= self.largest <= 126:
            raise IRError(f"largest must be from 0 to 126, not {self.largest}")

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name != "det.div" or op.result.tensor.dtype is not DType.F32:
            return NoMatch("not a division of f32")
        x, divisor = op.operands
        constant = b.constant_of(divisor)
        if constant is None or constant.type.shape != ():
            return NoMatch("the divisor is not a constant scalar")
        fraction, exponent = frexp(float(constant.data))  # fraction * 2^exponent
        if abs(fraction) != 0.5 or abs(exponent - 1) > self.largest:
            return NoMatch(f"the divisor {float(constant.data)} is not a power of two in range")
        return b.op("det.mul", x, b.constant(np.float32(1) / constant.data))


PASSES = (MultiplyByReciprocal,)
