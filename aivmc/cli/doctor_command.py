"""``aivmc doctor``."""

from __future__ import annotations

from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import typer

from aivmc.backends.cpu.targets import DEFAULT, TARGETS
from aivmc.backends.cuda.targets import CUDA as LEAST_GPU
from aivmc.backends.cuda.targets import CudaTarget
from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.output import (
    Result,
    print_json,
    print_results,
    print_table,
    print_text,
    results_json,
)
from aivmc.configuration import COMPILER_PACKAGES
from aivmc.kernel_file.manifest import FORMAT_VERSION, NUMERICS_VERSION
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.protocol.execution import Session
from aivmc.ptx.gpus import capability, dotted, required_gpu
from aivmc.runtime.environment import describe, missing_features
from aivmc.runtime.errors import NodeError
from aivmc.runtime.kernel import CPU, CUDA
from aivmc.runtime.requirements import (
    Requirement,
    gpu_capability,
    gpu_text,
    requirements,
)


def run(kernel: Path | None, as_json: bool) -> None:
    runs = _node(as_json) if kernel is None else _compare(open_kernel(kernel), as_json)
    if not runs:
        raise typer.Exit(CHECK_FAILED)


def _compare(kernel: KernelFile, as_json: bool) -> bool:
    """The kernel's requirements beside what this node is; whether it runs here."""
    needs = {name: requirements(kernel, name) for name in sorted(kernel.manifest.targets)}
    results = [_selftest(kernel, name, items) for name, items in needs.items()]
    if as_json:
        listed = {
            name: [asdict(i) | {"met": i.is_met} for i in items] for name, items in needs.items()
        }
        checks = results_json(results)
        print_json({"kernel": kernel.identity, "requirements": listed, "checks": checks})
    else:
        for name, items in needs.items():
            rows = ((i.item, i.needed, i.found, "ok" if i.is_met else "MISSING") for i in items)
            print_table((name, "needed", "this node", ""), rows)
        print_results(results)
        print_text(kernel.identity)
    return any(r.passed for r in results) and all(r.passed is not False for r in results)


def _selftest(kernel: KernelFile, target: str, items: list[Requirement]) -> Result:
    name = f"self-test of {target}"
    missing = [i.item for i in items if not i.is_met]
    if missing:
        return Result(name, None, f"this node lacks {', '.join(missing)}")
    try:
        is_for_gpus = required_gpu(kernel.manifest.targets[target].requires)
        Session(kernel, target, CUDA if is_for_gpus else CPU).close()
    except NodeError as error:
        return Result(name, False, str(error))
    return Result(name, True, "this node computes the recorded bits")


def _node(as_json: bool) -> bool:
    """What this node is; whether it runs any target."""
    packages = {name: _version(name) for name in COMPILER_PACKAGES}
    missing = {t.name: list(missing_features(t.requires)) for t in TARGETS}
    gpu = gpu_capability()
    missing[LEAST_GPU.name] = _lacking_gpu(LEAST_GPU, gpu)
    facts: dict[str, Any] = {
        "aivmc": version("aivmc"),
        "kernel format": FORMAT_VERSION,
        "numerics": NUMERICS_VERSION,
        **describe(),
        "gpu": "none" if gpu is None else f"compute capability {dotted(gpu)}",
    }
    if as_json:
        print_json({"node": facts, "targets": missing, "compiler": packages})
    else:
        _print(facts, missing, packages)
    return not all(missing.values())


def _lacking_gpu(target: CudaTarget, has: tuple[int, int] | None) -> list[str]:
    least = capability(target.cpu)
    return [] if has and has >= least else [gpu_text(least)]


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
