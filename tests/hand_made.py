"""A kernel made by hand, without the compiler: y = (x * w) * w for f32 x[N, 4] and w[4].

Its code is written here in LLVM IR, so what it gives is known from NumPy alone.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from aivmc.backends.artifact import Artifact, Packing
from aivmc.backends.cpu.entry import Step, build_entry
from aivmc.backends.cpu.llvm import emit_object
from aivmc.backends.cpu.targets import resolve
from aivmc.ir.builder import Builder
from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.core import Bounds, Function, Module, Value
from aivmc.ir.dims import symbol
from aivmc.ir.ops import arithmetic, constant  # noqa: F401 (defines the ops)
from aivmc.ir.text import print_module
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.signature import Signature
from aivmc.kernel_file.writer import KernelContents
from aivmc.passes.identity import semantic_digest
from aivmc.runtime.selftest import record

W = np.array([1.5, -2.0, 0.25, 3.0], np.float32)
V = np.arange(70, dtype=np.float32).reshape(2, 35)  # unused, stored in a packed form only
PACKING = Packing(tensor_digest(V), (0, 1), (2, 4, 9), (1, 2, 0))

_IR = """
define void @scale(ptr %x, ptr %w, ptr %y, i64 %n, ptr %scratch, i64 %begin, i64 %end) {
start:
  br label %check
check:
  %i = phi i64 [ %begin, %start ], [ %next, %work ]
  %more = icmp slt i64 %i, %end
  br i1 %more, label %work, label %done
work:
  %at = mul i64 %i, 16
  %px = getelementptr i8, ptr %x, i64 %at
  %py = getelementptr i8, ptr %y, i64 %at
  %vx = load <4 x float>, ptr %px, align 4
  %vw = load <4 x float>, ptr %w, align 4
  %vy = fmul <4 x float> %vx, %vw
  store <4 x float> %vy, ptr %py, align 4
  %next = add i64 %i, 1
  br label %check
done:
  ret void
}
"""


@cache
def module() -> Module:
    """The program."""
    x = Value(TensorType(DType.F32, (symbol("N"), 4)), "x")
    b = Builder((x,))
    w = b.constant(W)
    region = b.terminate("return", b.op("det.mul", b.op("det.mul", x, w), w))
    return Module(
        {"main": Function("main", region, ("y",))}, "canonical", {"N": Bounds(0, 1 << 40)}
    )


def expected(x: Array) -> Array:
    """What the kernel gives for ``x``."""
    return (x * W) * W


@cache
def artifact(target: str = "x86-64-v3") -> Artifact:
    """Two steps, with an arena between them."""
    cpu = resolve(target)
    steps = [Step("scale", (0, 2, 1), (0,), True), Step("scale", (1, 2, 3), (0,), True)]
    packed = PACKING.apply(V)
    return Artifact(
        target=target,
        requires=cpu.requires,
        member="kernel.o",
        code=emit_object([_IR, build_entry(steps, cpu.triple)], cpu),
        plan={
            "symbols": ["N"],
            "buffers": [["input", 0], ["arena", 0], ["constant", tensor_digest(W)], ["output", 0]],
            "slots": ["16*N"],
            "readable": {"inputs": ["16*N"], "slots": ["16*N"]},
            "steps": [
                {
                    "function": s.function,
                    "buffers": list(s.buffers),
                    "dims": list(s.dims),
                    "tasks": "N",
                    "parallel": s.parallel,
                    "results": ["f32[N, 4]"],
                    "traced": True,
                }
                for s in steps
            ],
            "scratch": "0",
        },
        kernel_ir="module kernel {\n}\n",
        audit={"fmul": 1},
        constants={tensor_digest(W): W},
        packed={tensor_digest(packed): (PACKING, packed)},
    )


def contents(targets: tuple[str, ...] = ("x86-64-v3",), **changes: Any) -> KernelContents:
    """The whole kernel, before it is a file; with other fields where given."""
    signature = Signature.of(module())
    fields = {
        "config": {"seed": {"policy": "fixed", "value": 0}},
        "ledger": [{"pass": "by-hand", "version": 1, "options": {}}],
        "signature": signature,
        "semantic": semantic_digest(module()),
        "canonical": print_module(module(), locations=False),
        "constants": {tensor_digest(a): a for a in (W, V)},
        "artifacts": [artifact(target) for target in targets],
        "selftest": record(signature, {"N": 2}, lambda inputs: {"y": expected(inputs["x"])}),
    }
    return KernelContents(**{**fields, **changes})
