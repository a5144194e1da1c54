"""From a model to a kernel: the same model and options give the same bytes on any machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from aivmc.backends.artifact import Artifact
from aivmc.backends.build import build_artifacts
from aivmc.backends.targets import Target, resolve_all
from aivmc.configuration import manifest_config
from aivmc.importer import import_model
from aivmc.ir.constants import Array
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError
from aivmc.ir.float_environment import default_float_environment
from aivmc.ir.interpret import interpret
from aivmc.ir.text import large_constants, print_module
from aivmc.kernel_file.reader import open_kernel
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.signature import Json, Signature
from aivmc.kernel_file.writer import KernelContents, write_kernel
from aivmc.passes.assign_streams import AssignStreams
from aivmc.passes.base import Pass
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.identity import semantic_digest
from aivmc.passes.ledger import Ledger
from aivmc.passes.manager import Observer, run_pipeline
from aivmc.passes.pipelines import CANONICAL
from aivmc.runtime.environment import missing_features
from aivmc.runtime.executor import Executor
from aivmc.runtime.kernel import Kernel
from aivmc.runtime.plan import Plan
from aivmc.runtime.selftest import SEED, Run, choose_sizes, record

Shapes = Mapping[str, Sequence[int | str]]


def compile(
    model: Any,
    target: str | Sequence[str] = "cpu",
    shapes: Shapes | None = None,
    seed: int | None = None,
    observer: Observer | None = None,
    plugins: Sequence[type[Pass]] = (),
    seed_policy: str = "fixed",
) -> Kernel:
    """A kernel of an ONNX ``model``: a path, the file's bytes, or a ``ModelProto``.

    ``target`` is one target or several (``cpu`` is x86-64-v3). ``shapes`` gives inputs' dims anew,
    integers or names of symbols. ``seed`` (0 to 2**256 - 1; 0 where it is None) decides what random
    ops draw; with the ``seed_policy`` ``input`` or ``vrf`` it comes with each run in its place.
    ``observer`` sees every pass; the passes of ``plugins`` run before those that fix the bits.
    ``AivmcError`` where the model is not good or can't be compiled.
    """
    with tempfile.TemporaryDirectory(prefix="aivmc-") as folder:
        path = Path(folder) / "kernel.aivm"
        compile_file(model, path, target, shapes, seed, observer, plugins, seed_policy)
        # The mapped file lives on without a name.
        return Kernel(open_kernel(path))


@default_float_environment()
def compile_file(
    model: Any,
    path: str | Path,
    target: str | Sequence[str] = "cpu",
    shapes: Shapes | None = None,
    seed: int | None = None,
    observer: Observer | None = None,
    plugins: Sequence[type[Pass]] = (),
    seed_policy: str = "fixed",
) -> str:
    """As :func:`compile`, straight into a kernel file; returns the kernel's identity."""
    targets, policy = resolve_all(target), SeedPolicy.of(seed_policy, seed)
    canonical, ledger = canonicalize(model, shapes, observer, plugins, policy)
    artifacts = build_artifacts(canonical, [t.name for t in targets], observer)
    return write_kernel(_contents(canonical, ledger, targets, artifacts, policy), path)


@default_float_environment()
def canonicalize(
    model: Any,
    shapes: Shapes | None = None,
    observer: Observer | None = None,
    plugins: Sequence[type[Pass]] = (),
    policy: SeedPolicy = SeedPolicy(),  # noqa: B008 (frozen)
) -> tuple[Module, Ledger]:
    """The canonical program of a model, which decides every bit, and how it was made."""
    passes = canonical_passes(plugins, policy)
    return run_pipeline(import_model(model, shapes or {}), passes, observer)


def canonical_passes(
    plugins: Sequence[type[Pass]] = (),
    policy: SeedPolicy = SeedPolicy(),  # noqa: B008 (frozen)
) -> tuple[Pass, ...]:
    """The passes to the canonical program, with a fixed seed and with plug-ins in their place.

    That is right before orders are fixed: what they make is ordered and canonicalized like the
    rest.
    """
    seeded = AssignStreams((policy.fixed_seed or b"").hex())
    passes = [seeded if isinstance(p, AssignStreams) else p for p in CANONICAL]
    place = next(i for i, p in enumerate(passes) if isinstance(p, FixReductionOrder))
    return (*passes[:place], *(plugin() for plugin in plugins), *passes[place:])


def _contents(
    canonical: Module,
    ledger: Ledger,
    targets: Sequence[Target],
    artifacts: Sequence[Artifact],
    policy: SeedPolicy,
) -> KernelContents:
    constants = _constants(canonical, artifacts)
    signature = Signature.of(canonical)
    return KernelContents(
        config=manifest_config(targets, policy),
        ledger=ledger.steps,
        signature=signature,
        semantic=semantic_digest(canonical),
        # Node names are no part of a program: they would make other kernels of equal ones.
        canonical=print_module(canonical, locations=False),
        constants=constants,
        artifacts=artifacts,
        selftest=_selftest(canonical, signature, artifacts, constants),
    )


def _constants(canonical: Module, artifacts: Sequence[Artifact]) -> dict[str, Array]:
    """Those that the program's text names by digest, and the others that code reads: smaller ones,
    and what passes after the canonical program compute of them."""
    read = {digest: array for a in artifacts for digest, array in a.constants.items()}
    return large_constants(canonical) | dict(sorted(read.items()))


def _selftest(
    canonical: Module,
    signature: Signature,
    artifacts: Sequence[Artifact],
    constants: Mapping[str, Array],
) -> Json:
    """Recorded by each target that this machine runs; by the reference semantics if it runs none.

    All give the same digests, or there is no kernel.
    """
    plans = [Plan.from_json(a.plan) for a in artifacts]
    values = choose_sizes(signature, [d for plan in plans for d in plan.slots])
    runs: list[Run] = [
        partial(_executor(signature, plan, a, constants).run, seed=SEED)
        for plan, a in zip(plans, artifacts)
        if not missing_features(a.requires)
    ]
    if not runs:
        runs = [lambda inputs: interpret(canonical, inputs, seed=SEED)]
    first, *others = (record(signature, values, run) for run in runs)
    if any(other != first for other in others):
        raise AivmcError("the targets give different bits: this is a fault of the compiler")
    return first


def _executor(
    signature: Signature, plan: Plan, artifact: Artifact, constants: Mapping[str, Array]
) -> Executor:
    packed = {digest: array for digest, (_, array) in artifact.packed.items()}
    return Executor(signature, plan, artifact.code, {**constants, **packed})
