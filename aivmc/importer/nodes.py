"""Order of nodes: sorted so that definitions come before uses, in the file's order otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heapify, heappop, heappush
from typing import Any

from aivmc.importer._errors import ImportModelError
from aivmc.importer.attributes import attribute_graphs


def node_name(node: Any, index: int) -> str:
    """The node's own name, or one made of its type and place."""
    return str(node.name) or f"{node.op_type}_{index}"


def sorted_nodes(nodes: Sequence[Any]) -> list[tuple[str, Any]]:
    """(name, node) in the order of execution. ``ImportModelError`` on a cycle or a redefinition."""
    names = [node_name(node, i) for i, node in enumerate(nodes)]
    producer = _producers(nodes, names)
    waiting: list[int] = []
    consumers: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        sources = {producer[t] for t in _used_names(node) if t in producer}
        waiting.append(len(sources))
        for source in sources:
            consumers[source].append(i)
    ready = [i for i, n in enumerate(waiting) if n == 0]
    heapify(ready)
    order: list[int] = []
    while ready:
        i = heappop(ready)
        order.append(i)
        for consumer in consumers[i]:
            waiting[consumer] -= 1
            if waiting[consumer] == 0:
                heappush(ready, consumer)
    if len(order) < len(nodes):
        stuck = sorted(set(range(len(nodes))) - set(order))
        listed = ", ".join(repr(names[i]) for i in stuck[:8])
        raise ImportModelError(f"the graph has a cycle; it goes through {listed}")
    return [(names[i], nodes[i]) for i in order]


def _producers(nodes: Sequence[Any], names: Sequence[str]) -> dict[str, int]:
    out: dict[str, int] = {}
    for i, node in enumerate(nodes):
        for tensor in node.output:
            if tensor in out:
                raise ImportModelError(
                    f"tensor {tensor!r} is defined twice, by {names[out[tensor]]!r} "
                    f"and by {names[i]!r}"
                )
            if tensor:
                out[tensor] = i
    return out


def _used_names(node: Any) -> Iterator[str]:
    """Tensors that a node reads, those that its graphs take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        for graph in attribute_graphs(attribute):
            inner = {v.name for v in graph.input} | {t.name for t in graph.initializer}
            inner |= {t.values.name for t in graph.sparse_initializer}
            inner |= {name for n in graph.node for name in n.output}
            for n in graph.node:
                yield from (name for name in _used_names(n) if name not in inner)
            yield from (v.name for v in graph.output if v.name not in inner)
