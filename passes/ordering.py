"""The one order of a region's ops that depends on nothing but what the program computes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from aivmc.ir.core import Function, Module, Op, Region, Value


def in_order(region: Region) -> Region:
    """The region with its ops, and those of its inner regions, live and in order."""
    ops = [
        replace(op, regions=tuple(map(in_order, op.regions))) if op.regions else op
        for op in region.ops
    ]
    return Region(region.arguments, [*live_in_order(Region(region.arguments, ops)), ops[-1]])


def without_dead_ops(module: Module) -> Module:
    """The module with those ops of its main function that the outputs need, where they were."""
    main = module.main
    live = set(live_in_order(main.region))
    ops = [op for op in main.region.body if op in live]
    region = Region(main.region.arguments, [*ops, main.region.terminator])
    return module.with_main(Function(main.name, region, main.output_names))


def live_in_order(region: Region) -> list[Op]:
    """The ops that the terminator needs, each after those it uses, in post-order from the
    terminator's operands. Ops are pure, so others are dead. Inner regions stay as they are.
    """
    producers = {value: op for op in region.body for value in op.results}
    done: set[Op] = set()
    order: list[Op] = []
    # A stack of ops under way, each with its operands still to visit: deep graphs are long chains.
    stack: list[tuple[Op, Iterator[Value]]] = [
        (region.terminator, iter(used_by(region.terminator)))
    ]
    while stack:
        op, pending = stack[-1]
        needed = next((p for v in pending if (p := producers.get(v)) and p not in done), None)
        if needed is not None:
            done.add(needed)
            stack.append((needed, iter(used_by(needed))))
            continue
        stack.pop()
        order.append(op)
    return order[:-1]


def used_by(op: Op) -> Iterable[Value]:
    """The op's operands, then the values that its regions take from outside, as they come."""
    if not op.regions:
        return op.operands
    captured = (v for region in op.regions for v in captures(region))
    return (*op.operands, *captured)


def captures(region: Region) -> tuple[Value, ...]:
    """Values that the region uses and does not define, in order of use."""
    defined = set(region.arguments)
    for op in region.walk():
        defined.update(op.results)
        defined.update(v for inner in op.regions for v in inner.arguments)
    used = dict.fromkeys(v for op in region.walk() for v in op.operands)
    return tuple(v for v in used if v not in defined)
