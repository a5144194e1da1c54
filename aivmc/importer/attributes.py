"""ONNX attributes to IR attributes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx

from aivmc.importer._errors import ImportModelError
from aivmc.importer.load import Folder
from aivmc.importer.tensors import dtype_of, sparse_array, tensor_array
from aivmc.ir.constants import Constant
from aivmc.ir.types import OptionalType, SequenceType, TensorType, Type, UnknownType

_A = onnx.AttributeProto
GRAPHS = (_A.GRAPH, _A.GRAPHS)

Reader = Callable[[Any, Folder], Any]
_READERS: Mapping[int, Reader] = {
    _A.FLOAT: lambda a, _: float(a.f),
    _A.INT: lambda a, _: int(a.i),
    _A.STRING: lambda a, _: _text(a.s),
    _A.TENSOR: lambda a, folder: Constant.of(tensor_array(a.t, folder)),
    _A.SPARSE_TENSOR: lambda a, folder: Constant.of(sparse_array(a.sparse_tensor, folder)),
    _A.TYPE_PROTO: lambda a, _: str(type_of(a.tp)),
    _A.FLOATS: lambda a, _: tuple(float(x) for x in a.floats),
    _A.INTS: lambda a, _: tuple(int(x) for x in a.ints),
    _A.STRINGS: lambda a, _: tuple(_text(s) for s in a.strings),
    _A.TENSORS: lambda a, folder: tuple(Constant.of(tensor_array(t, folder)) for t in a.tensors),
    _A.SPARSE_TENSORS: lambda a, folder: tuple(
        Constant.of(sparse_array(t, folder)) for t in a.sparse_tensors
    ),
    _A.TYPE_PROTOS: lambda a, _: tuple(str(type_of(t)) for t in a.type_protos),
}


def attribute_value(attribute: Any, folder: Folder) -> Any:
    """int, float, str, ``Constant``, or a tuple of these. Graphs are the caller's."""
    if attribute.type not in _READERS:
        raise ImportModelError(
            f"attribute {attribute.name!r} has the unknown type {attribute.type}"
        )
    return _READERS[attribute.type](attribute, folder)


def attribute_graphs(attribute: Any) -> list[Any]:
    """The graphs that an attribute holds; most hold none."""
    if attribute.type == _A.GRAPH:
        return [attribute.g]
    return list(attribute.graphs) if attribute.type == _A.GRAPHS else []


def type_of(proto: Any) -> Type:
    """The IR type of a ``TypeProto``; dims that are not integers print as unknown."""
    kind = proto.WhichOneof("value")
    if kind == "sequence_type":
        return SequenceType(type_of(proto.sequence_type.elem_type))
    if kind == "optional_type":
        return OptionalType(type_of(proto.optional_type.elem_type))
    if kind == "tensor_type" and proto.tensor_type.HasField("shape"):
        dims = proto.tensor_type.shape.dim
        if all(d.HasField("dim_value") for d in dims):
            shape = tuple(int(d.dim_value) for d in dims)
            return TensorType(dtype_of(proto.tensor_type.elem_type), shape)
    return UnknownType()


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ImportModelError("an attribute holds a string that is not UTF-8") from None
