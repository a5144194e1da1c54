"""``aivm.toml``: everything beside the model that could decide a kernel, read and resolved.

:func:`manifest_config` is what of it enters a kernel's manifest and so its identity: it speaks of
targets and tools, never of the machine that compiles.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

from aivmc.backends.cpu.targets import CODE_OPTIONS
from aivmc.backends.targets import Target, resolve
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.signature import Json
from aivmc.settings import (
    AUDIT,
    BY_KEY,
    ENTRY,
    IMPORTER_VERSION,
    SETTINGS,
    TABLES,
    check_setting,
)

COMPILER_PACKAGES = (
    *("apache-tvm", "apache-tvm-ffi", "llvmlite", "capstone", "onnx", "numpy", "ml_dtypes", "lark"),
)
"""What compiling needs."""

_LARGEST_FILE = 1 << 20


@dataclass(frozen=True)
class Configuration:
    """The settings by key, each with its value; those without one are left out."""

    values: Mapping[str, Any]

    @staticmethod
    def of(given: Mapping[str, Any]) -> Configuration:
        """The settings that are given, by key, and defaults for the others.

        Targets go by their own names. ``AivmcError`` for an unknown key, with a suggestion, for a
        value that isn't allowed, and where the toolchain is another than is required.
        """
        for key, value in given.items():
            check_setting(key, value)
        tools = {f"toolchain.{name}": installed for name, installed in toolchain().items()}
        for key, installed in tools.items():
            if given.get(key, installed) != installed:
                raise AivmcError(
                    f"{key} must be {given[key]}, and {installed} is installed: install the other, "
                    "or leave the setting out"
                )
        defaults = {s.key: s.default for s in SETTINGS if s.default is not None}
        values = {**defaults, **tools, **given}
        values["targets"] = sorted({resolve(name).name for name in values["targets"]})
        return Configuration(values)

    @property
    def seed(self) -> SeedPolicy:
        """``AivmcError`` where policy and value don't go together."""
        value = self.values.get("seed.value")
        return SeedPolicy.of(self.values["seed.policy"], None if value is None else int(value))

    def to_json(self) -> dict[str, Json]:
        """The settings in their tables."""
        nested: dict[str, Json] = {}
        for key in BY_KEY:
            if key in self.values:
                table, dot, name = key.partition(".")
                (nested.setdefault(table, {}) if dot else nested)[name or table] = self.values[key]
        return nested

    def to_toml(self) -> str:
        """An ``aivm.toml`` with every setting."""
        nested = self.to_json()
        lines = [f"{k} = {_toml(v)}" for k, v in nested.items() if not isinstance(v, dict)]
        for table, entries in nested.items():
            if isinstance(entries, dict):
                lines += [
                    "",
                    f"[{table}]",
                    *(f"{_name(k)} = {_toml(v)}" for k, v in entries.items()),
                ]
        return "\n".join(lines) + "\n"


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a file, by key. ``AivmcError`` where it is no TOML, or has an unknown key."""
    try:
        with open(path, "rb") as file:
            text = file.read(_LARGEST_FILE + 1)
        if len(text) > _LARGEST_FILE:
            raise AivmcError(f"it is longer than {_LARGEST_FILE} bytes")
        given = _flat(tomllib.loads(text.decode("utf-8")))
        for key, value in given.items():
            check_setting(key, value)
    except OSError as error:
        raise AivmcError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise AivmcError(f"{path} is not valid TOML: {error}") from None
    except AivmcError as error:
        raise AivmcError(f"{path}: {error}") from None
    return given


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    given = {}
    for key, value in tables.items():
        if key in TABLES and isinstance(value, dict):
            given.update({f"{key}.{name}": entry for name, entry in value.items()})
        else:
            given[_name(key)] = value  # quoted, a key with a dot is no key in a table
    return given


def toolchain() -> dict[str, str]:
    """Versions of the tools that make machine code."""
    return {
        "apache-tvm": version("apache-tvm"),
        "llvmlite": version("llvmlite"),
        "llvm": ".".join(map(str, llvm.llvm_version_info)),
    }


def manifest_config(targets: Sequence[Target], policy: SeedPolicy) -> Json:
    """The configuration in a kernel's manifest. What depends on the model is elsewhere in it:
    passes in the ledger, shapes in the signature, required features with each target."""
    hardware = [s for s in SETTINGS if s.enforced]
    return {
        "enforced": {
            by: sorted(s.name for s in hardware if s.enforced == by) for by in (AUDIT, ENTRY)
        },
        "hardware": {s.name: s.default for s in hardware},
        "importer": {"format": "onnx", "version": IMPORTER_VERSION},
        "seed": policy.to_json(),
        "targets": {t.name: _target(t) for t in targets},
        "threads": BY_KEY["threads"].default,
        "toolchain": toolchain(),
    }


def _target(target: Target) -> Json:
    """What LLVM was told, and for which system."""
    return {
        "triple": target.triple,
        "os": target.system,
        "abi": target.abi,
        "cpu": target.cpu,
        "features": target.features,
        "flags": dict(CODE_OPTIONS),
    }


def _toml(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return _quoted(value) if isinstance(value, str) else str(value)


def _name(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _quoted(key)


def _quoted(text: str) -> str:
    # TOML's basic strings have JSON's escapes, but for a slash, which JSON need not escape.
    return json.dumps(text)
