"""Reading and writing conformance vectors; docs/conformance.md describes the files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from aivmc.ir.constants import Array, Constant, tensor_bytes, tensor_digest
from aivmc.ir.definition import definition
from aivmc.ir.types import DType, TensorType
from tests.compiled_op import types_of

FOLDER = Path(__file__).parents[2] / "conformance"
FORMAT = 1
_SMALL = 256  # bytes of a result that are given, beside its digest
_TYPE = re.compile(r"(\w+)\[([\d, ]*)\]")


@dataclass(frozen=True)
class Vector:
    """One case of an op: what goes in, and digest and bytes (of small ones) of what comes out."""

    op: str
    attributes: dict[str, Any]
    operands: tuple[Array, ...]
    results: tuple[tuple[str, str, bytes | None], ...]  # type, digest, bytes


@dataclass(frozen=True)
class Recipe:
    """Operands too large to be listed, made from a hash as docs/conformance.md says."""

    types: tuple[TensorType, ...]

    def operands(self) -> tuple[Array, ...]:
        return tuple(_made(i, type) for i, type in enumerate(self.types))


def _made(number: int, type: TensorType) -> Array:
    shape = _shape(type)
    data = shake_256(f"aivmc conformance 1 {number}".encode()).digest(8 * prod(shape))
    if type.dtype.is_float:
        numbers = np.frombuffer(data, "<u8") ^ np.uint64(1 << 63)
        fractions = numbers.view(np.int64).astype(np.float64) * 2.0**-63
        return fractions.astype(type.dtype.numpy).reshape(shape)
    return np.frombuffer(data, "<u8").astype(type.dtype.numpy).reshape(shape)


def read(path: Path) -> Iterator[Vector]:
    """The vectors of one file."""
    file = json.loads(path.read_text(encoding="utf-8"))
    if file["format"] != FORMAT:
        raise ValueError(f"{path.name} has format {file['format']}, not {FORMAT}")
    tensors = {name: _from_bytes(t["type"], t["bytes"]) for name, t in file["tensors"].items()}
    for case in file["cases"]:
        attributes = _attributes_from_json(file["op"], case["attributes"], tensors)
        if "recipe" in case:
            operands = Recipe(tuple(map(_type, case["recipe"]))).operands()
        else:
            operands = tuple(tensors[name] for name in case["operands"])
        results = tuple(
            (r["type"], r["sha256"], bytes.fromhex(r["bytes"]) if "bytes" in r else None)
            for r in case["results"]
        )
        yield Vector(file["op"], attributes, operands, results)


def render(op: str, cases: Sequence[tuple[Any, Mapping[str, Any], Sequence[Array]]]) -> str:
    """The file of an op: (operands or :class:`Recipe`, attributes, results) of each case."""
    tensors: dict[str, str] = {}  # the text of a tensor, its name

    def named(array: Any) -> str:
        text = json.dumps(_to_json(np.asarray(array)))
        return tensors.setdefault(text, f"t{len(tensors)}")

    lines = []
    for operands, attributes, results in cases:
        case: dict[str, Any] = {"attributes": _attributes_to_json(op, attributes, named)}
        if isinstance(operands, Recipe):
            case["recipe"] = [str(t) for t in operands.types]
        else:
            case["operands"] = [named(a) for a in operands]
        case["results"] = [_result(a) for a in results]
        lines.append(json.dumps(case))
    table = [f'"{name}": {text}' for text, name in tensors.items()]
    return (
        f'{{"format": {FORMAT}, "op": "{op}", "tensors": {{\n' + ",\n".join(table) + "\n},\n"
        '"cases": [\n' + ",\n".join(lines) + "\n]}\n"
    )


def _result(array: Array) -> dict[str, str]:
    entry = _to_json(array)
    if array.nbytes > _SMALL:
        del entry["bytes"]
    return {"type": entry.pop("type"), "sha256": tensor_digest(array), **entry}


def _to_json(array: Array) -> dict[str, str]:
    return {"type": str(types_of([array])[0]), "bytes": bytes(tensor_bytes(array)).hex()}


def _type(text: str) -> TensorType:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no type")
    return TensorType(DType(match[1]), tuple(int(d) for d in match[2].split(",") if d.strip()))


def _from_bytes(type_text: str, text: str) -> Array:
    type = _type(type_text)
    return np.frombuffer(bytes.fromhex(text), type.dtype.numpy).reshape(_shape(type))


def _shape(type: TensorType) -> tuple[int, ...]:
    return tuple(d for d in type.shape if isinstance(d, int))


def _attributes_to_json(op: str, attributes: Mapping[str, Any], named: Any) -> dict[str, Any]:
    def encode(kind: str, value: Any) -> Any:
        match kind:
            case "float":
                return float(value).hex()
            case "floats":
                return [float(v).hex() for v in value]
            case "dtype":
                return value.value
            case "constant":
                return named(value.data)
        return value

    kinds = definition(op).attributes
    return {name: encode(kinds[name], value) for name, value in sorted(attributes.items())}


def _attributes_from_json(
    op: str, attributes: Mapping[str, Any], tensors: Mapping[str, Array]
) -> dict[str, Any]:
    def decode(kind: str, value: Any) -> Any:
        match kind:
            case "float":
                return float.fromhex(value)
            case "floats":
                return tuple(map(float.fromhex, value))
            case "dtype":
                return DType(value)
            case "constant":
                return Constant.of(tensors[value])
        return tuple(value) if isinstance(value, list) else value

    kinds = definition(op).attributes
    return {name: decode(kinds[name], value) for name, value in attributes.items()}
