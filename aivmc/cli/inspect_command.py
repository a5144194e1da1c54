"""``aivmc inspect``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.tree import Tree

from aivmc.backends.build import build_artifact, kernel_module
from aivmc.backends.generate import assembly_text, llvm_text
from aivmc.cli.arguments import parse_shapes
from aivmc.cli.cost_report import print_costs
from aivmc.cli.output import bytes_text, console, print_json, print_table, print_text
from aivmc.compiler import Shapes, canonical_passes, canonicalize, compile
from aivmc.importer import import_model
from aivmc.ir.core import STAGES, Module
from aivmc.ir.errors import AivmcError
from aivmc.ir.seeds import SEED_BYTES
from aivmc.ir.text import print_module
from aivmc.kernel_file.identity import Parts, identity_parts
from aivmc.kernel_file.manifest import WEIGHTS, Manifest
from aivmc.kernel_file.program import canonical_program
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.signature import Json
from aivmc.passes.legalize import Legalize
from aivmc.passes.manager import run_pipeline

_ALL_STAGES = (*STAGES, "llvm", "asm", "audit", "cost")
_KERNEL_MAGIC = b"PK\x03\x04"


def run(
    file: Path,
    stage: str | None,
    target: str | None,
    shape_texts: Sequence[str],
    gpu: str | None,
    as_json: bool,
) -> None:
    shapes = parse_shapes(shape_texts)
    if stage is not None and stage not in _ALL_STAGES:
        raise AivmcError(f"there is no stage {stage!r}: choose one of {', '.join(_ALL_STAGES)}")
    if gpu is not None and stage != "cost":
        raise AivmcError("--gpu goes with --stage cost")
    if stage == "cost":
        is_kernel = _is_kernel(file)
        kernel = open_kernel(file) if is_kernel else compile(file, target or "cuda", shapes).file
        print_costs(kernel, target, gpu, shapes if is_kernel else {}, as_json)
        return
    if _is_kernel(file):
        kernel = open_kernel(file)
        if shapes:
            raise AivmcError("--shape is for models; the shapes of a kernel are fixed")
        text = _kernel_text(kernel, stage, target) if stage else None
    elif stage:
        text = _model_text(file, shapes, stage, target or "cpu")
    else:
        kernel, text = compile(file, target or "cpu", shapes).file, None
    if text is None:
        summary = _summary(kernel)
        print_json(summary) if as_json else _print_summary(kernel, summary)
    elif as_json:
        print_json({"stage": stage, "text": text})
    else:
        print_text(text)


def _is_kernel(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return opened.read(len(_KERNEL_MAGIC)) == _KERNEL_MAGIC
    except OSError as error:
        raise AivmcError(f"cannot read {file}: {error.strerror or error}") from None


def _kernel_text(kernel: KernelFile, stage: str, target: str | None) -> str:
    if stage in ("onnx", "det"):
        raise AivmcError(f"a kernel doesn't hold its {stage} stage: give the model")
    targets = kernel.manifest.targets
    name = target or min(targets)
    if name not in targets:
        raise AivmcError(f"the kernel has no target {name!r}; it has {', '.join(sorted(targets))}")
    if stage == "kernel":
        return kernel.text(f"targets/{name}/kernel.air")
    if stage == "audit":
        return _audit_text(name, kernel.json(f"targets/{name}/audit.json"))
    return _canonical_text(canonical_program(kernel), stage, name)


def _model_text(model: Path, shapes: Shapes, stage: str, target: str) -> str:
    if stage == "onnx":
        return print_module(import_model(model, shapes))
    if stage == "det":
        passes = canonical_passes()
        place = next(i for i, p in enumerate(passes) if isinstance(p, Legalize))
        return print_module(run_pipeline(import_model(model, shapes), passes[: place + 1])[0])
    return _canonical_text(canonicalize(model, shapes)[0], stage, target)


def _canonical_text(canonical: Module, stage: str, target: str) -> str:
    match stage:
        case "kernel":
            return print_module(kernel_module(canonical))
        case "llvm":
            return llvm_text(kernel_module(canonical), target)
        case "asm":
            return assembly_text(kernel_module(canonical), target)
        case "audit":
            artifact = build_artifact(canonical, target)
            return _audit_text(artifact.target, artifact.audit)
    return print_module(canonical)


def _audit_text(target: str, audit: Json) -> str:
    """A line for every kind of instruction."""
    lines = [f"target {target}\n"]
    lines += [f"{part} {name} {n}\n" for part, kinds in audit.items() for name, n in kinds.items()]
    return "".join(lines)


def _summary(kernel: KernelFile) -> dict[str, Any]:
    manifest = kernel.manifest
    return {
        "identity": kernel.identity,
        "bytes": len(kernel.data),
        "signature": manifest.signature.to_json(),
        "config": manifest.config,
        "ledger": manifest.ledger,
        "parts": identity_parts(manifest),
        "weights": {"bytes": manifest.members[WEIGHTS].size, "arrays": len(manifest.stored)},
        "targets": {name: _target_summary(kernel, name) for name in sorted(manifest.targets)},
    }


def _target_summary(kernel: KernelFile, name: str) -> dict[str, Any]:
    target, plan = kernel.manifest.targets[name], kernel.json(f"targets/{name}/plan.json")
    return {
        "requires": list(target.requires),
        "code_bytes": len(kernel.members[f"targets/{name}/{target.code}"]),
        "steps": len(plan["steps"]),
        "arena": plan["slots"],
        "scratch_per_thread": plan["scratch"],
        "audit": kernel.json(f"targets/{name}/audit.json"),
    }


def _print_summary(kernel: KernelFile, summary: Mapping[str, Any]) -> None:
    print_text(f"{kernel.identity} ({bytes_text(summary['bytes'])})")
    _print_signature(kernel.manifest)
    weights = summary["weights"]
    rows = [("weights", f"{bytes_text(weights['bytes'])} in {weights['arrays']} arrays")]
    for name, target in summary["targets"].items():
        rows += [(name, ""), *_target_rows(target)]
    print_table(("memory and code", ""), rows)
    console().print(_tree(kernel.identity, summary["parts"]))


def _print_signature(manifest: Manifest) -> None:
    signature = manifest.signature
    rows = [("input", name, str(type)) for name, type in signature.inputs]
    rows += [("output", name, str(type)) for name, type in signature.outputs]
    for name, bounds in sorted(signature.symbols.items()):
        high = "" if bounds.high is None else str(bounds.high)
        rows.append(("symbol", name, f"{bounds.low}..{high}"))
    rows += [("constraint", "", f"{a} == {b}") for a, b in signature.constraints]
    policy = SeedPolicy.from_config(manifest.config)
    if policy.value is None:
        rows.append(("seed", policy.policy, f"{SEED_BYTES} bytes"))
    print_table(("signature", "name", "type"), rows)


def _target_rows(target: Json) -> list[tuple[str, str]]:
    return [
        ("  code", f"{bytes_text(target['code_bytes'])}, {target['steps']} steps"),
        ("  needs", ", ".join(target["requires"])),
        *((f"  arena slot {i}", f"{size} bytes") for i, size in enumerate(target["arena"])),
        ("  scratch per thread", f"{target['scratch_per_thread']} bytes"),
    ]


def _tree(label: str, parts: Parts) -> Tree:
    tree = Tree(label)
    for name, part in parts.items():
        tree.add(f"{name} {part}" if isinstance(part, str) else _tree(name, part))
    return tree
