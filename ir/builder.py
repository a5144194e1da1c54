"""Building programs op by op, with types inferred and schemas checked as each op is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aivmc.ir.constants import Constant
from aivmc.ir.core import Location, Op, Region, Value
from aivmc.ir.definition import definition, is_defined
from aivmc.ir.errors import IRError
from aivmc.ir.types import DType, Type


class Builder:
    """Appends ops to one region. ``location`` is given to the ops made from now on."""

    def __init__(self, arguments: Sequence[Value] = (), location: Location | None = None) -> None:
        self.region = Region(tuple(arguments))
        self.location = location or Location()

    def op(
        self,
        name: str,
        *operands: Value,
        regions: Sequence[Region] = (),
        result_types: Sequence[Type] | None = None,
        **attributes: Any,
    ) -> Value:
        """Append an op with one result and return that. ``IRError`` if it breaks its schema."""
        return self.ops(name, *operands, regions=regions, result_types=result_types, **attributes)[
            0
        ]

    def ops(
        self,
        name: str,
        *operands: Value,
        regions: Sequence[Region] = (),
        result_types: Sequence[Type] | None = None,
        **attributes: Any,
    ) -> tuple[Value, ...]:
        """Append an op and return all its results."""
        if result_types is None:
            result_types = self.infer(name, operands, attributes, regions)
        results = tuple(Value(t) for t in result_types)
        self.append(Op(name, operands, dict(attributes), results, tuple(regions), self.location))
        return results

    def infer(
        self,
        name: str,
        operands: Sequence[Value],
        attributes: Mapping[str, Any],
        regions: Sequence[Region] = (),
    ) -> tuple[Type, ...]:
        rule = definition(name)
        rule.check_schema(len(operands), attributes)
        try:
            return rule.infer([v.type for v in operands], attributes, regions)
        except IRError as error:
            types = ", ".join(str(v.type) for v in operands)
            raise IRError(f"{name}({types}) at {self.location}: {error}") from None

    def append(self, op: Op) -> None:
        self.region.ops.append(op)

    def copy(self, op: Op, values: Mapping[Value, Value]) -> tuple[Value, ...]:
        """Append ``op`` again, its operands replaced through ``values``; types inferred anew."""
        operands = tuple(values.get(v, v) for v in op.operands)
        regions = tuple(copy_region(r, values) for r in op.regions)
        if is_defined(op.name):
            types = self.infer(op.name, operands, op.attributes, regions)
        else:
            types = tuple(v.type for v in op.results)
        results = tuple(Value(t, old.name) for t, old in zip(types, op.results))
        self.append(Op(op.name, operands, op.attributes, results, regions, op.location))
        return results

    def constant(self, value: Any, dtype: DType | None = None) -> Value:
        """A constant: an array, a number (with ``dtype``), or a :class:`Constant`."""
        if not isinstance(value, Constant):
            value = Constant.of(value, dtype)
        return self.op("det.constant", value=value)

    def terminate(self, name: str, *operands: Value) -> Region:
        """Append the terminator and return the finished region."""
        self.append(Op(name, operands, {}, (), (), self.location))
        return self.region


def copy_region(region: Region, values: Mapping[Value, Value]) -> Region:
    """A region like this one over fresh values; outer values are replaced through ``values``."""
    arguments = tuple(Value(v.type, v.name) for v in region.arguments)
    inner = dict(values) | dict(zip(region.arguments, arguments))
    builder = Builder(arguments)
    for op in region.body:
        inner.update(zip(op.results, builder.copy(op, inner)))
    builder.location = region.terminator.location
    operands = (inner.get(v, v) for v in region.terminator.operands)
    return builder.terminate(region.terminator.name, *operands)
