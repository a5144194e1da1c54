"""Convolutions that pad what they read themselves, in place of a kernel that copies it.

CPUs are faster on a copy (:mod:`aivmc.passes.assign_layouts`); a GPU's threads each test what they
read. Padding is +0 in both, and traces leave out kernels that only move elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from aivmc.backends.cpu.lower import contraction
from aivmc.backends.cuda.schedules.convolution import MOST_PADDED_TAPS
from aivmc.backends.cuda.schedules.operands import has_schedule
from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Op, Region, Value
from aivmc.passes.ordering import without_dead_ops
from aivmc.passes.rewriting import NoMatch, Results, RewritePass, Rewriter


@dataclass(frozen=True)
class FoldPadding(RewritePass):
    """Give convolutions the padding of what they read, and drop kernels that nothing needs."""

    name: ClassVar[str] = "fold-padding"

    def run(self, module: Module) -> Module:
        return without_dead_ops(super().run(module))

    def rewrite(self, op: Op, b: Rewriter) -> Results | NoMatch:
        if op.name != "kernel.contract" or contraction(op).name != "det.conv":
            return NoMatch("no convolution")
        region, root = op.regions[0], contraction(op)
        if not has_schedule(root) or prod(_window(root)) > MOST_PADDED_TAPS:
            return NoMatch("its schedule doesn't pad")
        image = root.operands[0]
        if sum(o.operands.count(image) for o in region.ops) != 1:
            return NoMatch("what it reads is read twice")
        number = region.arguments.index(image)
        maker = b.producer(op.operands[number])
        pad = _only_padding(maker)
        if maker is None or pad is None:
            return NoMatch("what it reads is not a padded copy")
        operands = list(op.operands)
        operands[number] = maker.operands[0]
        return b.ops(op.name, *operands, regions=(_padded(region, root, operands, pad),))


def _window(root: Op) -> list[int]:
    return [d for d in root.operands[1].tensor.shape[2:] if isinstance(d, int)]


def _only_padding(maker: Op | None) -> Op | None:
    """The padding, by zeros and of the places only, that is all that a kernel does."""
    if maker is None or maker.name != "kernel.map" or len(maker.operands) != 1:
        return None
    *constants, pad = maker.regions[0].body
    if pad.name != "det.pad" or pad.attributes["mode"] != "constant" or len(constants) != 1:
        return None
    value = constants[0].attributes.get("value")
    low, high = pad.attributes["low"], pad.attributes["high"]
    if value is None or any(value.data.tobytes()) or any((low[0], high[0], low[-1], high[-1])):
        return None
    return pad if min(*low, *high) >= 0 else None


def _padded(region: Region, root: Op, operands: list[Value], pad: Op) -> Region:
    arguments = [Value(o.type, a.name) for o, a in zip(operands, region.arguments)]
    builder = Builder(arguments)
    values = dict(zip(region.arguments, arguments))
    sides = {side: pad.attributes[side][1:-1] for side in ("low", "high")}
    for op in region.body:
        if op is root:
            padding = Op(op.name, op.operands, {**op.attributes, **sides}, op.results)
            values.update(zip(op.results, builder.copy(padding, values)))
        else:
            values.update(zip(op.results, builder.copy(op, values)))
    return builder.terminate("yield", *(values[v] for v in region.terminator.operands))
