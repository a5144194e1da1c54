"""``aivmc doctor``."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

import typer

from aivmc.backends.cpu.targets import DEFAULT, TARGETS
from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.output import print_json, print_table, print_text
from aivmc.configuration import COMPILER_PACKAGES
from aivmc.kernel_file.manifest import FORMAT_VERSION, NUMERICS_VERSION
from aivmc.runtime.environment import describe, missing_features


def run(as_json: bool) -> None:
    packages = {name: _version(name) for name in COMPILER_PACKAGES}
    missing = {t.name: list(missing_features(t.requires)) for t in TARGETS}
    facts: dict[str, Any] = {
        "aivmc": version("aivmc"),
        "kernel format": FORMAT_VERSION,
        "numerics": NUMERICS_VERSION,
        **describe(),
    }
    if as_json:
        print_json({"node": facts, "targets": missing, "compiler": packages})
    else:
        _print(facts, missing, packages)
    if all(missing.values()):
        raise typer.Exit(CHECK_FAILED)


def _print(
    facts: dict[str, Any], missing: dict[str, list[str]], packages: dict[str, str | None]
) -> None:
    lists = {name: ", ".join(v) if isinstance(v, list) else str(v) for name, v in facts.items()}
    print_table(("node", ""), lists.items())
    targets = (
        (name + " (default)" * (name == DEFAULT), f"lacks {', '.join(f)}" if f else "runs here")
        for name, f in missing.items()
    )
    print_table(("target", ""), targets)
    print_table(("compiler", ""), ((n, v or "not installed") for n, v in packages.items()))
    absent = [name for name, v in packages.items() if v is None]
    if absent:
        print_text(f"This node runs kernels; to compile, it needs {', '.join(absent)}.")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
