"""What a kernel takes and gives: names, types, dim symbols with bounds, and what must be equal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from aivmc.ir import dims
from aivmc.ir.core import Bounds, Module
from aivmc.ir.dims import Dim
from aivmc.ir.types import DType, TensorType

Json: TypeAlias = Any  # what json.loads gives
Named: TypeAlias = tuple[tuple[str, TensorType], ...]


@dataclass(frozen=True)
class Signature:
    """Inputs and outputs in order; ``constraints`` are pairs of dims that must be equal."""

    inputs: Named
    outputs: Named
    symbols: Mapping[str, Bounds]
    constraints: tuple[tuple[Dim, Dim], ...]

    @staticmethod
    def of(module: Module) -> Signature:
        """The signature of a program's entry function."""
        main = module.main
        return Signature(
            tuple((v.name, v.tensor) for v in main.inputs),
            tuple((name, v.tensor) for name, v in zip(main.output_names, main.outputs)),
            dict(module.symbols),
            module.constraints,
        )

    def to_json(self) -> dict[str, Json]:
        return {
            "inputs": [{"name": n, "type": str(t)} for n, t in self.inputs],
            "outputs": [{"name": n, "type": str(t)} for n, t in self.outputs],
            "symbols": {n: {"low": b.low, "high": b.high} for n, b in self.symbols.items()},
            "constraints": [[str(a), str(b)] for a, b in self.constraints],
        }

    @staticmethod
    def from_json(data: Json) -> Signature:
        """``KeyError``, ``TypeError`` or ``ValueError`` where ``data`` is no signature."""
        return Signature(
            tuple((str(v["name"]), parse_type(v["type"])) for v in data["inputs"]),
            tuple((str(v["name"]), parse_type(v["type"])) for v in data["outputs"]),
            {str(n): _bounds(b["low"], b["high"]) for n, b in data["symbols"].items()},
            tuple((dims.parse(a), dims.parse(b)) for a, b in data["constraints"]),
        )


def _bounds(low: Json, high: Json) -> Bounds:
    if type(low) is not int or type(high) not in (int, type(None)):
        raise ValueError("the bounds of a symbol are not integers")
    return Bounds(low, high)


_TYPE = re.compile(r"(\w+)\[(.*)\]")


def parse_type(text: str) -> TensorType:
    """The tensor type that prints as ``text``; ``ValueError`` where none does."""
    match = _TYPE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a tensor type: {text!r}")
    shape = tuple(map(dims.parse, _dim_texts(match[2]))) if match[2] else ()
    return TensorType(DType(match[1]), shape)


def _dim_texts(listed: str) -> list[str]:
    """The text split at its commas, but not at those inside ``max(a, b)``."""
    texts = [""]
    depth = 0
    for character in listed:
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            texts.append("")
        else:
            texts[-1] += character
    return texts
