"""Graphs, their nodes, and calls of functions (inlined) to regions of ops."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import onnx

import aivmc.ir.ops  # noqa: F401 - registers det.constant
from aivmc.importer._errors import ImportModelError, NodeError
from aivmc.importer.attributes import attribute_graphs, attribute_value
from aivmc.importer.load import Folder
from aivmc.importer.nodes import sorted_nodes
from aivmc.importer.tensors import sparse_array, tensor_array
from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array, Constant
from aivmc.ir.core import Location, Op, Region, Value
from aivmc.ir.types import UnknownType

_OP_LIMIT = 250_000  # functions that call functions can grow without bound
Opsets = Mapping[str, int]
FunctionKey = tuple[str, str, str]  # domain, name, overload


@dataclass
class Model:
    """What all graphs of a model share."""

    folder: Folder
    functions: Mapping[FunctionKey, Any]
    op_count: int = 0


@dataclass(frozen=True)
class Scope:
    """Where names are looked up, and what a call of a function passes in."""

    model: Model
    opsets: Opsets
    builder: Builder
    values: dict[str, Value] = field(default_factory=dict)
    outer: Scope | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)  # attributes of the call
    calls: tuple[FunctionKey, ...] = ()
    prefix: str = ""

    def find(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.outer
        return None

    def define(self, name: str, value: Value) -> None:
        if name in self.values:
            raise ImportModelError(f"tensor {name!r} is defined twice")
        self.values[name] = value

    def use(self, name: str, user: str) -> Value:
        value = self.find(name)
        if value is None:
            raise ImportModelError(f"{user} uses the tensor {name!r}, which nothing defines")
        return value


def import_graph(graph: Any, scope: Scope) -> tuple[Value, ...]:
    """Append a graph's constants and nodes to the scope's builder; its outputs' values."""
    for tensor in graph.initializer:
        _constant(scope, tensor.name, tensor_array(tensor, scope.model.folder))
    for sparse in graph.sparse_initializer:
        _constant(scope, sparse.values.name, sparse_array(sparse, scope.model.folder))
    import_nodes(graph.node, scope)
    return tuple(scope.use(v.name, "the graph's output list") for v in graph.output)


def import_nodes(nodes: Sequence[Any], scope: Scope) -> None:
    for name, node in sorted_nodes(nodes):
        full_name = scope.prefix + name
        try:
            _import_node(node, full_name, scope)
        except NodeError:
            raise  # of a node inside this one
        except ImportModelError as error:
            raise NodeError(f"node {full_name!r}: {error}") from None


def _constant(scope: Scope, name: str, array: Array) -> None:
    scope.builder.location = Location(name=name)
    value = scope.builder.constant(Constant.of(array))
    value.name = name
    scope.define(name, value)


def _import_node(node: Any, name: str, scope: Scope) -> None:
    scope.model.op_count += 1
    if scope.model.op_count > _OP_LIMIT:
        raise ImportModelError(f"the model has more than {_OP_LIMIT} nodes with functions inlined")
    domain = "" if node.domain == "ai.onnx" else node.domain
    key = (node.domain, node.op_type, node.overload)
    if key in scope.model.functions:
        _import_call(node, key, name, scope)
    elif node.op_type == "Constant" and domain == "":
        _import_constant(node, name, scope)
    else:
        _import_op(node, domain, name, scope)


def _import_op(node: Any, domain: str, name: str, scope: Scope) -> None:
    operands = _operands(node, name, scope)
    attributes: dict[str, Any] = {}
    regions: list[Region] = []
    region_names: list[str] = []
    for attribute in _bound_attributes(node, scope):
        graphs = attribute_graphs(attribute)
        regions += [_import_region(graph, scope, name) for graph in graphs]
        region_names += [attribute.name] * len(graphs)
        if not graphs:
            attributes[attribute.name] = attribute_value(attribute, scope.model.folder)
    if regions:
        attributes["regions"] = tuple(region_names)
    attributes["opset"] = _since_version(node.op_type, domain, scope)
    results = tuple(Value(UnknownType(), output) for output in node.output)
    prefix = f"{domain.replace('.', '_')}." if domain else ""
    op_name = f"onnx.{prefix}{node.op_type}"
    location = Location(name=name)
    scope.builder.append(Op(op_name, operands, attributes, results, tuple(regions), location))
    for output, value in zip(node.output, results):
        if output:
            scope.define(output, value)


def _operands(node: Any, name: str, scope: Scope) -> tuple[Value, ...]:
    return tuple(scope.use(t, f"node {name!r}") if t else _none(scope) for t in node.input)


def _none(scope: Scope) -> Value:
    """An omitted optional input."""
    if "" not in scope.values:
        scope.builder.location = Location()
        scope.values[""] = scope.builder.op("onnx.none", result_types=[UnknownType()])
    return scope.values[""]


def _import_region(graph: Any, scope: Scope, name: str) -> Region:
    arguments = tuple(Value(UnknownType(), v.name) for v in graph.input)
    builder = Builder(arguments, Location(name=name))
    inner = replace(scope, builder=builder, values={}, outer=scope, prefix=f"{name}/")
    for value in arguments:
        inner.define(value.name, value)
    outputs = import_graph(graph, inner)
    builder.location = Location(name=name)
    return builder.terminate("yield", *outputs)


def _import_call(node: Any, key: FunctionKey, name: str, scope: Scope) -> None:
    """Inline a function of the model. It sees its inputs and attributes, and nothing else."""
    function = scope.model.functions[key]
    if key in scope.calls:
        raise ImportModelError(f"function {key[1]!r} calls itself")
    if len(node.input) > len(function.input) or len(node.output) > len(function.output):
        raise ImportModelError(f"too many inputs or outputs for the function {key[1]!r}")
    given = {a.name: a for a in function.attribute_proto}
    given |= {a.name: a for a in _bound_attributes(node, scope)}
    inner = Scope(
        scope.model,
        opset_versions(function.opset_import),
        scope.builder,
        arguments=given,
        calls=(*scope.calls, key),
        prefix=f"{name}/",
    )
    operands = list(_operands(node, name, scope))
    operands += [_none(scope) for _ in function.input[len(operands) :]]
    for parameter, value in zip(function.input, operands):
        inner.define(parameter, value)
    import_nodes(function.node, inner)
    for output, result in zip(node.output, function.output):
        if output:
            scope.define(output, inner.use(result, f"function {key[1]!r}"))


def _bound_attributes(node: Any, scope: Scope) -> Iterable[Any]:
    """A node's attributes, with those that name a parameter of the function replaced."""
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            yield attribute
        elif attribute.ref_attr_name in scope.arguments:
            bound = type(attribute)()
            bound.CopyFrom(scope.arguments[attribute.ref_attr_name])
            bound.name = attribute.name
            yield bound


def _import_constant(node: Any, name: str, scope: Scope) -> None:
    attributes = list(_bound_attributes(node, scope))
    if len(attributes) != 1 or len(node.output) != 1:
        raise ImportModelError("a Constant has one value and one output")
    value = attribute_value(attributes[0], scope.model.folder)
    if isinstance(value, Constant):
        array = value.data
    elif attributes[0].name in ("value_float", "value_floats"):
        array = np.array(value, np.float32)
    elif attributes[0].name in ("value_int", "value_ints"):
        array = np.array(value, np.int64)
    elif attributes[0].name in ("value_string", "value_strings"):
        array = np.array(value, object)
    else:
        raise ImportModelError(f"a Constant can't be given by {attributes[0].name!r}")
    _constant(scope, node.output[0], array)
    scope.builder.region.ops[-1].location = Location(name=name)


def opset_versions(imports: Any) -> Opsets:
    """Version by domain ('' for ONNX's own). ``ImportModelError`` if one is given two ways."""
    out: dict[str, int] = {}
    for entry in imports:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        if out.setdefault(domain, entry.version) != entry.version:
            raise ImportModelError(
                f"opset {domain or 'ai.onnx'!r} is imported as {out[domain]} and {entry.version}"
            )
    return out


def _since_version(op_type: str, domain: str, scope: Scope) -> int:
    if domain not in scope.opsets:
        raise ImportModelError(f"op {op_type!r} is of the domain {domain!r}, which is not imported")
    return _schema_version(op_type, domain, scope.opsets[domain])


@lru_cache(maxsize=4096)
def _schema_version(op_type: str, domain: str, version: int) -> int:
    try:
        return int(onnx.defs.get_schema(op_type, version, domain).since_version)
    except (onnx.defs.SchemaError, TypeError):  # TypeError: a version beyond 32 bits
        return version
