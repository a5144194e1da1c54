"""Reading what users write on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence

from aivmc.ir.errors import AivmcError
from aivmc.passes.base import Pass
from aivmc.passes.plugins import installed_plugins, load_plugin

_NUMBER = re.compile(r"\d+", re.ASCII)


def parse_shapes(texts: Sequence[str]) -> dict[str, tuple[int | str, ...]]:
    """Dims by input name, from texts like ``x=1,3,48,W``."""
    shapes: dict[str, tuple[int | str, ...]] = {}
    for text in texts:
        name, equals, listed = text.rpartition("=")
        dims = [d.strip() for d in listed.split(",")] if listed.strip() else []
        if not equals or not name or not all(dims):
            raise AivmcError(f"--shape {text!r} is not of the form NAME=D,D,… as in x=1,3,48,W")
        if name in shapes:
            raise AivmcError(f"--shape gives {name!r} twice")
        shapes[name] = tuple(int(d) if _NUMBER.fullmatch(d) else d for d in dims)
    return shapes


def load_plugins(modules: Sequence[str]) -> tuple[type[Pass], ...]:
    """The passes of these modules."""
    return tuple(p for module in modules for p in load_plugin(module))


def all_plugins(modules: Sequence[str]) -> tuple[type[Pass], ...]:
    """The passes of these modules and of installed packages."""
    return (*load_plugins(modules), *installed_plugins())
