"""A whole model: its inputs, their dims as symbols, and its graph."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx

from aivmc.importer._errors import ImportModelError
from aivmc.importer.attributes import type_of
from aivmc.importer.graph import Model, Opsets, Scope, import_graph, opset_versions
from aivmc.importer.load import load_model
from aivmc.importer.tensors import dtype_of
from aivmc.ir.builder import Builder
from aivmc.ir.core import Bounds, Function, Location, Module, Value
from aivmc.ir.dims import Dim, symbol
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.types import TensorType, Type

OLDEST_OPSET = 7
_UNKNOWN_NAMES = ("", "?", "-1", "*", "None", "unk")
_MEMORY = 2**47

Shapes = Mapping[str, Sequence[int | str]]
_NO_SHAPES: Shapes = MappingProxyType({})


def import_model(
    source: str | Path | bytes | onnx.ModelProto, shapes: Shapes = _NO_SHAPES
) -> Module:
    """The onnx-stage program of a model: a path, its bytes, or the protobuf.

    ``shapes`` gives inputs' dims anew: integers, or names that make a dim symbolic. Other dims are
    as in the model; named ones become symbols, unknown ones symbols of their own. Raises
    ``AivmcError`` for anything that is not a well-formed model.
    """
    proto, folder = load_model(source)
    opsets = opset_versions(proto.opset_import)
    _check_opset(opsets)
    functions = {(f.domain, f.name, f.overload): f for f in proto.functions}
    symbols = _Symbols()
    arguments = _inputs(proto.graph, shapes, symbols)
    builder = Builder(arguments)
    scope = Scope(Model(folder, functions), opsets, builder)
    for value in arguments:
        scope.define(value.name, value)
    outputs = import_graph(proto.graph, scope)
    names = tuple(str(v.name) for v in proto.graph.output)
    if not names or len(set(names)) < len(names):
        raise ImportModelError("the graph must have outputs with names of their own")
    builder.location = Location()
    main = Function("main", builder.terminate("return", *outputs), names)
    return Module({"main": main}, "onnx", {name: Bounds() for name in symbols.names.values()})


def _check_opset(opsets: Opsets) -> None:
    version = opsets.get("")
    newest = onnx.defs.onnx_opset_version()
    if version is not None and not OLDEST_OPSET <= version <= newest:
        raise UnsupportedError(
            f"the model uses ONNX opset {version}; this version reads {OLDEST_OPSET} to {newest}"
        )


@dataclass
class _Symbols:
    """Symbol names: identifiers, one for each name of a dim in the model."""

    names: dict[tuple[str, ...], str] = field(default_factory=dict)

    def named(self, name: str) -> Dim:
        return self._symbol((name,), name)

    def fresh(self, name: str, axis: int) -> Dim:
        return self._symbol((name, str(axis)), f"{name}_{axis}")

    def _symbol(self, key: tuple[str, ...], name: str) -> Dim:
        if key not in self.names:
            self.names[key] = _identifier(name, set(self.names.values()))
        return symbol(self.names[key])


def _identifier(name: str, taken: set[str]) -> str:
    base = re.sub(r"[^A-Za-z0-9_]", "_", name)
    if not base or base[0].isdigit() or keyword.iskeyword(base):
        base = f"d_{base}"
    out, i = base, 1
    while out in taken:
        i += 1
        out = f"{base}_{i}"
    return out


def _inputs(graph: Any, shapes: Shapes, symbols: _Symbols) -> tuple[Value, ...]:
    constants = {t.name for t in graph.initializer}
    constants |= {t.values.name for t in graph.sparse_initializer}
    infos = [v for v in graph.input if v.name not in constants]
    unknown = sorted(shapes.keys() - {v.name for v in infos})
    if unknown:
        listed = ", ".join(repr(v.name) for v in infos)
        raise ImportModelError(f"a shape is given for {unknown[0]!r}; the inputs are {listed}")
    return tuple(Value(_input_type(v, shapes.get(v.name), symbols), v.name) for v in infos)


def _input_type(info: Any, given: Sequence[int | str] | None, symbols: _Symbols) -> Type:
    if info.type.WhichOneof("value") != "tensor_type":
        return type_of(info.type)
    tensor = info.type.tensor_type
    dims = list(tensor.shape.dim) if tensor.HasField("shape") else None
    if given is None and dims is None:
        raise ImportModelError(f"the model gives no shape for the input {info.name!r}: name one")
    if given is not None and dims is not None and len(given) != len(dims):
        raise ImportModelError(
            f"input {info.name!r} has {len(dims)} dims; the shape given has {len(given)}"
        )
    try:
        if given is not None:
            shape = tuple(_given_dim(d, symbols) for d in given)
        else:
            assert dims is not None
            shape = tuple(_model_dim(d, info.name, i, symbols) for i, d in enumerate(dims))
        return _checked(TensorType(dtype_of(tensor.elem_type), shape))
    except ImportModelError as error:
        raise ImportModelError(f"input {info.name!r}: {error}") from None


def _given_dim(dim: int | str, symbols: _Symbols) -> Dim:
    if isinstance(dim, int):
        return dim
    if not dim.isidentifier() or keyword.iskeyword(dim) or not dim.isascii():
        raise ImportModelError(f"{dim!r} is neither a number nor a name for a dim")
    return symbols.named(dim)


def _model_dim(dim: Any, name: str, axis: int, symbols: _Symbols) -> Dim:
    if dim.HasField("dim_value") and dim.dim_value != -1:
        return int(dim.dim_value)
    if dim.dim_param in _UNKNOWN_NAMES:
        return symbols.fresh(name, axis)
    return symbols.named(dim.dim_param)


def _checked(type: TensorType) -> TensorType:
    static = [d for d in type.shape if isinstance(d, int)]
    if any(d < 0 for d in static):
        raise ImportModelError(f"a negative dim in {type}")
    if prod(d or 1 for d in static) >= _MEMORY or type.rank > 32:
        raise ImportModelError(f"{type} is larger than any memory")
    return type
