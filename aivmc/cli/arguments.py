"""Reading what users write on the command line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from aivmc.ir.errors import AivmcError
from aivmc.passes.base import Pass
from aivmc.passes.plugins import installed_plugins, load_plugin
from aivmc.trust.documents import LONGEST

_NUMBER = re.compile(r"\d+", re.ASCII)
_HEX = re.compile(r"([0-9a-fA-F]{2})*")


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


def hex_bytes(text: str, option: str) -> bytes:
    """The bytes that an option gives in hex."""
    if not _HEX.fullmatch(text):
        raise AivmcError(f"{option} {text!r} is not bytes in hex: two digits each, nothing else")
    return bytes.fromhex(text)


def read_document(path: Path) -> bytes:
    """The bytes of a document, which is no longer than such documents may be."""
    try:
        with open(path, "rb") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise AivmcError(f"cannot read {path}: {error.strerror or error}") from None
    except ValueError as error:  # a null byte in the path
        raise AivmcError(f"cannot read {str(path)!r}: {error}") from None


def load_plugins(modules: Sequence[str]) -> tuple[type[Pass], ...]:
    """The passes of these modules."""
    return tuple(p for module in modules for p in load_plugin(module))


def all_plugins(modules: Sequence[str]) -> tuple[type[Pass], ...]:
    """The passes of these modules and of installed packages."""
    return (*load_plugins(modules), *installed_plugins())
