"""Kernels for all targets, their inputs, and what their outputs' digests must be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

import aivmc
from aivmc.backends.build import build_artifacts
from aivmc.backends.cpu.targets import TARGETS
from aivmc.backends.targets import resolve_all
from aivmc.compiler import _contents, canonicalize
from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.core import Module
from aivmc.ir.interpret import interpret
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.writer import write_kernel
from aivmc.passes.ledger import Ledger
from tests.conformance.check import is_compiled, program
from tests.conformance.vectors import FOLDER, Vector, read
from tests.cross.cases import Case
from tests.guarantees.examples_kit import inputs_for

Digests = dict[str, dict[str, str]]  # by case and output
_ALL = [target.name for target in TARGETS]
_QUICK = 4  # tuples of dtypes of an op, unless all vectors are asked for


def write_vectors(folder: Path, everything: bool) -> Digests:
    """A kernel for each op with its conformance vectors: all of them, or some. The digests are
    those in the vectors' files."""
    expected: Digests = {}
    for path in sorted(FOLDER.glob("*.json")):
        chosen = [v for v in read(path) if is_compiled(v)]
        chosen = chosen if everything else _some(chosen)
        module, inputs = program(chosen)
        _write_program(module, folder / f"{path.stem}.aivm")
        _write_inputs(folder, path.stem, inputs)
        digests = [digest for vector in chosen for _, digest, _ in vector.results]
        expected[path.stem] = {f"y{i}": digest for i, digest in enumerate(digests)}
    return expected


def write_models(folder: Path, cases: Iterable[Case]) -> Digests:
    """A kernel for each model. The digests are those of the reference semantics where the case has
    inputs of its own; else those that this machine gives."""
    expected: Digests = {}
    for case in cases:
        path = folder / f"{case.name}.aivm"
        aivmc.compile(case.model, _ALL).save(path)
        with aivmc.load(path) as kernel:
            inputs = inputs_for(kernel.inputs) if case.inputs is None else case.inputs
            outputs = kernel.run(inputs)
        if case.inputs is not None:
            outputs = interpret(canonicalize(case.model)[0], inputs)
        _write_inputs(folder, case.name, inputs)
        expected[case.name] = {name: tensor_digest(array) for name, array in outputs.items()}
    return expected


def _some(vectors: Sequence[Vector]) -> list[Vector]:
    """The largest of a tuple of dtypes, which has all special values, for some of the tuples; and
    the last, which has the hardest."""
    by_size = sorted(vectors, key=lambda v: sum(np.size(x) for x in v.operands))
    largest = list({_dtypes(vector): vector for vector in by_size}.values())
    some = largest[:: -(-len(largest) // _QUICK)]
    return list({id(v): v for v in (*some, vectors[-1])}.values())


def _dtypes(vector: Vector) -> tuple[str, ...]:
    operands = (np.asarray(x).dtype.name for x in vector.operands)
    return (*operands, *(type.partition("[")[0] for type, _, _ in vector.results))


def _write_program(canonical: Module, path: Path) -> None:
    targets = resolve_all(_ALL)
    artifacts = build_artifacts(canonical, [t.name for t in targets])
    write_kernel(_contents(canonical, Ledger(), targets, artifacts, SeedPolicy()), path)


def _write_inputs(folder: Path, name: str, inputs: Mapping[str, Array]) -> None:
    plain = {n: x if x.dtype.isbuiltin == 1 else _bits(x) for n, x in inputs.items()}
    np.savez(folder / f"{name}.npz", **plain)  # type: ignore[arg-type]


def _bits(x: Array) -> Array:
    """As integers: NumPy's files can't name dtypes that aren't its own."""
    return x.view(f"u{x.itemsize}")
