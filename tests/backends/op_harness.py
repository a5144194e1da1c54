"""Programs run as compiled code and by the reference interpreter, whose bytes must be equal."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from aivmc.backends.artifact import Artifact
from aivmc.backends.build import build_artifact
from aivmc.backends.cpu.targets import TARGETS as ALL_TARGETS
from aivmc.backends.targets import resolve
from aivmc.ir.builder import Builder
from aivmc.ir.core import Bounds, Function, Module, Value
from aivmc.ir.dims import Dim, symbol, symbols
from aivmc.ir.interpret import interpret
from aivmc.ir.numpy_emit import canonical_nan
from aivmc.ir.types import DType, Shape, TensorType
from aivmc.kernel_file.signature import Signature
from aivmc.runtime.device_executor import Device, DeviceExecutor
from aivmc.runtime.environment import missing_features
from aivmc.runtime.executor import Executor
from aivmc.runtime.launches import LaunchPlan
from aivmc.runtime.plan import Plan

Array = Any
Inputs = Mapping[str, Array]
Case = tuple[str, Sequence[Array], Mapping[str, Any]]  # op, operands, attributes

_RUNNABLE = sorted((t for t in ALL_TARGETS if not missing_features(t.requires)), key=str)
# Those that this machine runs; some emulate instructions, which takes its time.
RUNNABLE = tuple(t.name for t in _RUNNABLE)
TARGETS = tuple(t.name for t in _RUNNABLE if not t.lacks)


def executor(
    module: Module, target: str, device: Device | None = None
) -> Executor | DeviceExecutor:
    """The canonical program compiled, ready to run; on the ``device``, if there is one."""
    return loaded(module, build_artifact(module, target), device)


def loaded(
    module: Module, artifact: Artifact, device: Device | None = None
) -> Executor | DeviceExecutor:
    """What a program has been compiled to, ready to run; on the ``device``, if there is one."""
    packed = {digest: array for digest, (_, array) in artifact.packed.items()}
    signature, arrays = Signature.of(module), artifact.constants | packed
    if device is not None:
        launches = LaunchPlan.from_json(artifact.plan)
        gpu = resolve(artifact.target).cpu
        return DeviceExecutor(signature, launches, artifact.code, arrays, device, gpu)
    return Executor(signature, Plan.from_json(artifact.plan), artifact.code, arrays)


def assert_compiled(
    module: Module,
    inputs: Iterable[Inputs],
    targets: Sequence[str] = TARGETS,
    threads: Sequence[int] = (1,),
) -> None:
    """Compile the program once for each target: it must give the interpreter's bytes, all NaNs
    being alike, for each of ``inputs`` with each number of threads."""
    compiled = {target: executor(module, target) for target in targets}
    for given in inputs:
        want = interpret(module, given)
        for target, kernel in compiled.items():
            for count in threads:
                assert_same(kernel.run(given, count), want, f"{target}, {count} threads")
    for kernel in compiled.values():
        kernel.close()


def assert_same(got: Inputs, want: Inputs, where: str) -> None:
    """Equal names, types and bytes."""
    assert list(got) == list(want)
    for name, expected in want.items():
        actual = got[name]
        assert (actual.dtype, actual.shape) == (expected.dtype, expected.shape), (where, name)
        a, b = canonical_nan(actual), canonical_nan(expected)
        if a.tobytes() != b.tobytes():
            wrong = np.flatnonzero(np.any(_bytes(a) != _bytes(b), axis=1))
            raise AssertionError(
                f"{where}: {name} {actual.dtype}{list(actual.shape)} differs at {wrong[:8]}"
                f" ({len(wrong)} in all): {a.flat[wrong[0]]!r} is not {b.flat[wrong[0]]!r}"
            )


def _bytes(x: Array) -> Array:
    return np.frombuffer(x.tobytes(), np.uint8).reshape(x.size, x.itemsize)


def program(
    arguments: Mapping[str, TensorType],
    body: Callable[..., Value | Iterable[Value]],
    least: int = 0,
) -> Module:
    """A canonical program: ``body(builder, *arguments)`` gives its outputs. Symbols of the
    arguments are at least ``least``."""
    values = [Value(type, name) for name, type in arguments.items()]
    b = Builder(values)
    made = body(b, *values)
    outputs = [made] if isinstance(made, Value) else list(made)
    output_names = tuple(f"out{i}" for i in range(len(outputs)))
    main = Function("main", b.terminate("return", *outputs), output_names)
    names = {s for type in arguments.values() for d in type.shape for s in symbols(d)}
    bounds = {name: Bounds(least, None) for name in sorted(names)}
    return Module({"main": main}, "canonical", bounds)


def program_of_cases(cases: Sequence[Case], symbolic: bool) -> tuple[Module, dict[str, Array]]:
    """One program that runs each case on inputs of its own, and those inputs.

    If ``symbolic``, a dim of length n is the symbol ``dn``: equal lengths are equal dims.
    """
    inputs: dict[str, Array] = {}
    arguments: dict[str, TensorType] = {}
    operands: list[list[str]] = []
    for number, (op, arrays, _) in enumerate(cases):
        operands.append([f"x{number}_{i}" for i in range(len(arrays))])
        for i, array in enumerate(map(np.asarray, arrays)):
            shape = symbolic_shape(op, i, array.shape) if symbolic else array.shape
            inputs[operands[-1][i]] = array
            arguments[operands[-1][i]] = TensorType(DType.of(array.dtype), shape)
    known = {d for type in arguments.values() for d in type.shape}

    def body(b: Builder, *values: Value) -> Iterator[Value]:
        named = dict(zip(arguments, values))
        for (op, _, attributes), names in zip(cases, operands):
            bound = _in_symbols(attributes, known) if symbolic else attributes
            yield from b.ops(op, *(named[n] for n in names), **bound)

    return program(arguments, body), inputs


def symbolic_shape(op: str, operand: int, shape: tuple[int, ...]) -> Shape:
    """The shape in symbols, but for what the op's type rule has to know."""
    static = _STATIC_AXES.get((op, operand), ())
    rank = len(shape)
    return tuple(
        n if n == 1 or axis in static or axis - rank in static else symbol(f"d{n}")
        for axis, n in enumerate(shape)
    )


def _in_symbols(attributes: Mapping[str, Any], known: Container[Dim]) -> dict[str, Any]:
    """Attributes with the result's dims in the symbols that the inputs have."""
    return {
        name: tuple(_known_dim(n, known) for n in value) if name in _RESULT_DIMS else value
        for name, value in attributes.items()
    }


def _known_dim(length: int, known: Container[Dim]) -> Dim:
    dim = symbol(f"d{length}")
    return dim if length != 1 and dim in known else length


_RESULT_DIMS = ("shape", "sizes")
_ALL = tuple(range(8))
# Channels and weights of convolutions, numbers of coordinates; extents that must not be longer than
# others; element counts, which a reshape must be able to compare.
_STATIC_AXES: dict[tuple[str, int], tuple[int, ...]] = {
    ("det.conv", 0): (1,),
    ("det.conv", 1): _ALL,
    ("det.conv_transpose", 0): (1,),
    ("det.conv_transpose", 1): _ALL,
    ("det.gather_nd", 1): (-1,),
    ("det.scatter_nd", 1): (-1,),
    ("det.gather_elements", 0): _ALL,
    ("det.gather_elements", 1): _ALL,
    ("det.scatter_elements", 0): _ALL,
    ("det.scatter_elements", 1): _ALL,
    ("det.scatter_elements", 2): _ALL,
    ("det.reshape", 0): _ALL,
    ("det.random_bits", 0): _ALL,
}
