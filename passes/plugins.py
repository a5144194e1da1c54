"""Passes from elsewhere: a Python module with a tuple ``PASSES`` of :class:`Pass` subclasses."""

from __future__ import annotations

import importlib
from dataclasses import fields
from importlib.metadata import entry_points

from aivmc.ir.errors import AivmcError
from aivmc.passes.base import Option, Pass

GROUP = "aivmc.passes"  # the entry points of this group name modules


def load_plugin(module_name: str) -> tuple[type[Pass], ...]:
    """The passes of an importable module. ``AivmcError`` if it has none."""
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # whatever the module does
        reason = f"{type(error).__name__}: {error}"
        raise AivmcError(f"can't import the pass plug-in {module_name!r}: {reason}") from error
    passes = getattr(module, "PASSES", None)
    if not isinstance(passes, tuple) or not passes:
        raise AivmcError(f"pass plug-in {module_name!r} has no tuple PASSES with passes in it")
    for pass_type in passes:
        _check(pass_type, module_name)
    return passes


def installed_plugins() -> tuple[type[Pass], ...]:
    """The passes of all installed packages that have entry points for them, in order of name."""
    points = sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))
    return tuple(p for point in points for p in load_plugin(point.value))


def _check(pass_type: object, module_name: str) -> None:
    fault = _fault(pass_type)
    if fault:
        raise AivmcError(f"pass plug-in {module_name!r}: {pass_type!r} {fault}")


def _fault(pass_type: object) -> str:
    if not (isinstance(pass_type, type) and issubclass(pass_type, Pass)):
        return "is not a subclass of aivmc.passes.base.Pass"
    if not isinstance(getattr(pass_type, "name", None), str):
        return "has no name"
    if "__dataclass_params__" not in vars(pass_type):
        return "is not a frozen dataclass"
    if any(not isinstance(f.default, Option) for f in fields(pass_type)):
        return "has an option without a bool, int, float or str for a default"
    return ""
