"""Writes docs/ops.md from the registries of converters and op definitions: `make docs`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

import aivmc.passes.legalize  # noqa: F401 - registers the converters
from aivmc.backends.build import kernel_module
from aivmc.backends.cpu.lower import lower
from aivmc.backends.cpu.targets import resolve
from aivmc.ir.builder import Builder
from aivmc.ir.core import Function, Module, Value
from aivmc.ir.definition import OpDef, definitions
from aivmc.ir.errors import UnsupportedError
from aivmc.ir.types import DType, TensorType
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.legalize.conversion import converter
from tests.ir.ops.cases import CASES

PAGE = Path(__file__).with_name("ops.md")
DOMAINS = {"": 26, "ai.onnx.ml": 5}  # newer ops are left out, whatever onnx is installed
BUILT_IN = {"Constant"}  # part of the importer

HEAD = """\
# Ops

Written by `make docs` from the code; don't edit.

## ONNX

A model may use any version of these from opset 7 on. A node that uses an attribute or a dtype in a
way that has no deterministic form is named in the error, with all others that can't be compiled.
Functions of the model are inlined; ops of unknown domains are no matter where nothing uses them.
Ops whose outputs' shapes depend on values are compiled where those values are constants.
"""

DET = """\
## Deterministic ops

What programs are made of after legalization. `map`: each element from the operands' elements at the
same index. `move`: each element from one found by index arithmetic. `order`: combines elements in
floating point, in the order that an attribute fixes ([numerics](numerics.md), clauses 8 to 11). A
model that needs an op that is not on CPUs yet is refused, with the op named; the reference
interpreter runs it. Sources are `ir/ops/`.
"""


def page() -> str:
    """The whole of docs/ops.md."""
    return "\n".join([HEAD, *_onnx_sections(), DET, _det_table()])


def _onnx_sections() -> Iterable[str]:
    for domain, newest in DOMAINS.items():
        names = sorted(
            {
                schema.name
                for schema in onnx.defs.get_all_schemas_with_history()
                if schema.domain == domain and schema.since_version <= newest
            }
        )
        supported = [name for name in names if _is_supported(domain, name)]
        missing = [name for name in names if name not in supported]
        title = domain or "ai.onnx"
        yield f"### `{title}`, {len(supported)} of {len(names)} ops up to opset {newest}\n"
        yield f"Compiled: {_listed(supported)}.\n"
        yield f"Not yet: {_listed(missing)}.\n"


def _is_supported(domain: str, name: str) -> bool:
    prefix = f"{domain.replace('.', '_')}." if domain else ""
    return (not domain and name in BUILT_IN) or converter(f"onnx.{prefix}{name}") is not None


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _det_table() -> str:
    rows = ["| op | operands | attributes | kind | |", "|---|---|---|---|---|"]
    for name, rule in sorted(definitions().items()):
        if name.startswith("det."):
            operands, attributes = ", ".join(rule.operands), ", ".join(rule.attributes)
            summary = (inspect.getdoc(type(rule)) or "").split("\n\n")[0].replace("\n", " ")
            row = (f"`{name}`", operands, attributes, _kind(rule), summary.replace("|", r"\|"))
            rows.append(f"| {' | '.join(row)} |".replace("``", "`"))
    return "\n".join(rows) + "\n"


def _kind(rule: OpDef) -> str:
    if not _has_cpu_code(rule.name):
        return "not on CPUs yet"
    if rule.reduces:
        return "order"
    if rule.is_elementwise:
        return "map"
    return "move" if rule.has_element else ""


def _has_cpu_code(name: str) -> bool:
    """Whether the CPU targets take one of the op's test cases."""
    return any(_can_lower(name, *case) for case in CASES.get(name, ()))


def _can_lower(name: str, operands: Sequence[Any], attributes: Mapping[str, Any]) -> bool:
    arrays = [np.asarray(operand) for operand in operands]
    inputs = [Value(TensorType(DType.of(a.dtype), a.shape), f"x{i}") for i, a in enumerate(arrays)]
    b = Builder(inputs)
    results = b.ops(name, *inputs, **attributes)
    if any(v.tensor.size == 0 for v in results):
        return False  # nothing to compute: says nothing of the op
    main = Function("main", b.terminate("return", *results), tuple(map(str, range(len(results)))))
    kernels = kernel_module(FixReductionOrder().run(Module({"main": main}, "det")))
    try:
        for op in kernels.main.region.body:
            if op.name.startswith("kernel."):
                lower("kernel", op, (), resolve("cpu"), packed=False)
    except UnsupportedError:
        return False
    return True


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
