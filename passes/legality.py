"""What may appear in a program at each stage, as one table; checked after every pass.

To let a new op into a stage, add its prefix or name to the stage's row; to forbid an attribute's
value, add a check.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from aivmc.ir.core import Module, Op
from aivmc.ir.errors import IRError
from aivmc.ir.types import TensorType

Check: TypeAlias = Callable[[Op], str | None]  # why the op is not legal; None if it is

TERMINATORS = frozenset({"return", "yield"})
_SHOWN = 10


def _only_tensors(op: Op) -> str | None:
    wrong = [v.type for v in (*op.operands, *op.results) if not isinstance(v.type, TensorType)]
    return f"has a value of type {wrong[0]}, which is not a tensor" if wrong else None


def _ordered(op: Op) -> str | None:
    return "has no reduction order" if op.attributes.get("order") == "any" else None


def _blocked(op: Op) -> str | None:
    """A float contraction names its block; an integer one is exact, so it needs none."""
    if op.attributes.get("block") != 0 or not _computes_float(op):
        return None
    return "has no contraction block"


def _channels_first(op: Op) -> str | None:
    layout = op.attributes.get("layout", "channels_first")
    return None if layout == "channels_first" else f"has the layout {layout!r}"


def _computes_float(op: Op) -> bool:
    return any(isinstance(v.type, TensorType) and v.type.dtype.is_float for v in op.operands)


@dataclass(frozen=True)
class Stage:
    """The ops that a stage allows, by prefix or by name, and what must hold of each."""

    prefixes: tuple[str, ...] = ()
    ops: frozenset[str] = frozenset()
    checks: tuple[Check, ...] = ()

    def objection(self, op: Op) -> str | None:
        """Why ``op`` may not appear; None if it may."""
        if op.name not in self.ops | TERMINATORS and not op.name.startswith(self.prefixes):
            return "is not allowed here"
        return next((reason for check in self.checks if (reason := check(op))), None)


LEGAL: dict[str, Stage] = {
    "onnx": Stage(("onnx.",), frozenset({"det.constant"})),
    "det": Stage(("det.",), checks=(_only_tensors,)),
    "canonical": Stage(("det.",), checks=(_only_tensors, _ordered, _blocked, _channels_first)),
    "kernel": Stage(("kernel.", "det."), checks=(_only_tensors, _ordered, _blocked)),
}


def is_ordered(op: Op) -> bool:
    """Whether the order in which the op combines elements is fixed, or there is none to fix."""
    return _ordered(op) is None and _blocked(op) is None


def illegal_ops(module: Module) -> Iterator[tuple[Op, str]]:
    """Ops that the module's stage doesn't allow, each with the reason."""
    stage = LEGAL[module.stage]
    for op in module.walk():
        reason = stage.objection(op)
        if reason is not None:
            yield op, reason


def check_legal(module: Module) -> None:
    """``IRError`` that names the ops that may not appear at the module's stage."""
    if module.stage not in LEGAL:
        raise IRError(f"there is no stage {module.stage!r}; stages are {', '.join(LEGAL)}")
    illegal = list(illegal_ops(module))
    if illegal:
        lines = [f"  {op.name} at {op.location} {reason}" for op, reason in illegal[:_SHOWN]]
        if len(illegal) > _SHOWN:
            lines.append(f"  and {len(illegal) - _SHOWN} more")
        raise IRError(f"not legal in the {module.stage} stage:\n" + "\n".join(lines))


def require_stage(module: Module, *stages: str) -> None:
    """``IRError`` unless the module is at one of ``stages``."""
    if module.stage not in stages:
        raise IRError(f"needs the {' or '.join(stages)} stage, not {module.stage}")
