"""GPU schedules of all that is no contraction: the bytes of the reference, in any order of threads.

Numbers are finite where an order of additions is to be seen, and special elsewhere.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aivmc.backends.build import build_artifact
from aivmc.backends.cuda.schedules import scatter
from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import symbol
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.signature import Signature
from aivmc.ptx.device import Device
from aivmc.ptx.errors import KernelFault
from aivmc.runtime.device_executor import DeviceExecutor
from aivmc.runtime.launches import LaunchPlan
from tests.backends.op_harness import Array, program
from tests.backends.test_cuda import assert_on_gpu, values

F32 = DType.F32
M, N = symbol("M"), symbol("N")
Shape = tuple[Any, ...]
_RANDOM = np.random.default_rng(12)


def finite(*shape: int) -> Array:
    return _RANDOM.standard_normal(shape).astype(np.float32)


def both(*shapes: tuple[int, ...]) -> list[dict[str, Array]]:
    return [{"x": make(*shape)} for shape in shapes for make in (finite, values)]


def on_x(shape: Shape, body: Callable[..., Any], dtype: DType = F32, least: int = 0) -> Module:
    return program({"x": TensorType(dtype, shape)}, body, least)


def steps(module: Module) -> list[tuple[str, int, int, str]]:
    plan = build_artifact(module, "cuda").plan
    return [(s["function"], s["threads"], s["tasks_per_block"], s["tasks"]) for s in plan["steps"]]


# Rows


def last_axis(x: Value, order: str = "lanes16") -> dict[str, Any]:
    return {"axes": (x.tensor.rank - 1,), "keepdims": True, "order": order}


def greatest(b: Builder, x: Value) -> Value:
    return b.op("det.reduce_max", x, axes=(x.tensor.rank - 1,), keepdims=True)


def softmax(b: Builder, x: Value) -> Value:
    e = b.op("det.exp", b.op("det.sub", x, greatest(b, x)))
    return b.op("det.div", e, b.op("det.reduce_sum", e, **last_axis(x)))


def norm(b: Builder, x: Value) -> list[Value]:
    """The distance from the mean, too, which is kept."""
    n = b.constant(np.full((), 40, np.float32))
    d = b.op("det.sub", x, b.op("det.div", b.op("det.reduce_sum", x, **last_axis(x)), n))
    squares = b.op("det.reduce_square_sum", d, **last_axis(x))
    return [b.op("det.div", d, b.op("det.sqrt", squares)), d, squares]


@pytest.mark.parametrize(
    ("body", "shape", "threads", "blocks"),
    [
        (softmax, (7, 10), 128, "1"),  # 16 rows of a block, of which some are not there
        (norm, (3, 2, 40), 128, "1"),
        (softmax, (3, 200), 128, "2"),
        (norm, (3, 768), 256, "3"),  # two blocks of 512
        pytest.param(softmax, (2, 2000), 256, "2", marks=pytest.mark.slow),
        (norm, (2, 8200), 256, "2"),  # too long for shared memory: parts of it
    ],
)
def test_rows(body: Callable[..., Any], shape: tuple[int, ...], threads: int, blocks: str) -> None:
    module = on_x(shape, body)
    assert steps(module) == [("k0_rows", threads, 1, blocks)]
    assert_on_gpu(module, *both(shape))


@pytest.mark.parametrize("body", [softmax, norm])
def test_rows_of_any_length(body: Callable[..., Any]) -> None:
    sizes = [(3, 1), (0, 5), (5, 0), (2, 511), (1, 513), (2, 2049), (1, 8193)]
    assert_on_gpu(on_x((M, N), body), *both(*sizes))


@pytest.mark.parametrize("length", [512 * 512 + 513, N])
def test_rows_of_three_rounds(length: Any) -> None:
    module = on_x((1, length), lambda b, x: b.op("det.reduce_sum", x, **last_axis(x)))
    lengths = [length] if length is not N else [512 * 512 + 513, 512 * 512, 512 * 16 + 1]
    assert_on_gpu(module, *({"x": finite(1, n)} for n in lengths))


def test_rows_of_nothing() -> None:
    assert_on_gpu(on_x((3, 0), norm), {"x": finite(3, 0)})


def test_two_values_are_kept_in_one_place_of_shared_memory_and_a_result() -> None:
    """The room is for one of them; what is kept in a result, another result needs."""

    def body(b: Builder, x: Value) -> list[Value]:
        e = b.op("det.exp", x)
        f = b.op("det.mul", e, b.op("det.reduce_sum", e, **last_axis(x)))
        g = b.op("det.mul", f, greatest(b, f))
        total = b.op("det.reduce_sum", g, **last_axis(x))
        return [b.op("det.add", f, total), b.op("det.mul", g, total), f]

    assert_on_gpu(on_x((2, 5000), body), *both((2, 5000)))


def test_short_rows_are_reduced_twice() -> None:
    """The second writes partial results while the first's are still read."""

    def body(b: Builder, x: Value) -> Value:
        y = b.op("det.sub", x, greatest(b, x))
        return b.op("det.sub", y, b.op("det.reduce_min", y, axes=(1,), keepdims=True))

    assert_on_gpu(on_x((20, 12), body), *both((20, 12)))


def test_a_value_is_kept_where_a_reduction_has_read_before() -> None:
    """Shared memory is lent to the first reduction, and not to the last."""

    def body(b: Builder, x: Value) -> Value:
        y = b.op("det.sub", x, b.op("det.reduce_sum", b.op("det.neg", x), **last_axis(x)))
        total = b.op("det.reduce_square_sum", y, **last_axis(x))
        third = b.op("det.reduce_sum", b.op("det.mul", y, x), **last_axis(x))
        return b.op("det.add", b.op("det.mul", y, third), total)

    assert_on_gpu(on_x((3, 100), body), *both((3, 100)))


KINDS = {
    DType.F64: ("sum lanes16", "sum seq"),
    DType.F16: ("product lanes16", "min"),
    DType.I32: ("product exact", "min"),
    DType.U8: ("sum exact", "max"),
    DType.I4: ("square_sum exact",),
    DType.BOOL: ("any", "all"),
}


@pytest.mark.parametrize("axis", [1, 0])
@pytest.mark.parametrize("dtype", list(KINDS))
def test_reductions_of_all_kinds(dtype: DType, axis: int) -> None:
    """In rows, and of columns, by lanes of several threads or of one."""
    shape = (3, 530) if axis == 1 else (530, 3)

    def body(b: Builder, x: Value) -> Iterator[Value]:
        for name, *order in map(str.split, KINDS[dtype]):
            attributes: dict[str, Any] = {"order": order[0]} if order else {}
            yield b.op(f"det.reduce_{name}", x, axes=(axis,), keepdims=True, **attributes)

    x = finite(*shape) * 3
    x = x if dtype.is_float else np.clip(x, -8 * dtype.is_signed, 7)
    assert_on_gpu(on_x(shape, body, dtype), {"x": x.astype(dtype.numpy)})


def test_a_reduction_reads_what_its_block_has_written() -> None:
    """Without one of its barriers, a kernel over rows has a race, or reads too early."""
    module = on_x((3, 768), norm)
    artifact = build_artifact(module, "cuda")
    text = artifact.code.decode()
    barriers = [m.span() for m in re.finditer(r"\tbar\.sync \t0;\n", text)]
    assert len(barriers) >= 4
    inputs = {"x": finite(3, 768)}
    for start, end in barriers:
        code = (text[:start] + text[end:]).encode()
        plan = LaunchPlan.from_json(artifact.plan)
        kernel = DeviceExecutor(Signature.of(module), plan, code, artifact.constants, Device(3))
        with pytest.raises(KernelFault, match=r"a race|before anything"):
            kernel.run(inputs)


# Other reductions


def total(axes: tuple[int, ...]) -> Callable[..., Value]:
    def body(b: Builder, x: Value) -> Value:
        squares = b.op("det.reduce_square_sum", x, axes=axes, keepdims=True, order="lanes16")
        return b.op("det.neg", squares)

    return body


@pytest.mark.parametrize(
    ("shape", "axes", "threads"),
    [
        ((2, 5, 5, 20), (1, 2), 128),  # short ones, each a thread's
        ((2, 7, 7, 20), (1, 2), 256),  # by lanes
        ((1100, 5), (0,), 256),  # three blocks of 512
        pytest.param((41, 3, 20, 5), (0, 2), 256, marks=pytest.mark.slow),
        ((38, 300, 110), (0,), 128),  # as many as keep a GPU busy
    ],
)
def test_reductions_of_outer_axes(
    shape: tuple[int, ...], axes: tuple[int, ...], threads: int
) -> None:
    module = on_x(shape, total(axes))
    assert [t for _, t, _, _ in steps(module)] == [threads]
    assert_on_gpu(module, *both(shape))


def test_reductions_of_outer_axes_of_any_length() -> None:
    module = on_x((M, 3, N, 5), total((0, 2)))
    sizes = [(40, 20), (0, 1), (1, 1), (1, 520), (3, 0)]
    assert_on_gpu(module, *both(*((m, 3, n, 5) for m, n in sizes)))


def window(op: str, sides: tuple[int, int], **changes: Any) -> Callable[..., Value]:
    attributes: dict[str, Any] = {
        "window": (1, *sides, 1),
        "strides": (1, 2, 2, 1),
        "dilations": (1, 1, 1, 1),
        "low": (0, 1, 1, 0),
        "high": (0, 1, 0, 0),
        **changes,
    }
    if op == "det.window_sum":
        attributes["order"] = "lanes16"
    return lambda b, x: b.op("det.neg", b.op(op, x, **attributes))


@pytest.mark.parametrize(
    ("shape", "op", "sides", "threads"),
    [
        ((1, 16, 17, 5), "det.window_max", (3, 3), 128),
        ((2, 16, 17, 5), "det.window_sum", (3, 3), 128),
        ((1, 18, 19, 3), "det.window_sum", (9, 9), 256),
        ((1, 30, 31, 3), "det.window_sum", (25, 23), 256),  # two blocks of 512
        ((1, 18, 19, 3), "det.window_max", (9, 9), 256),
    ],
)
def test_windows(shape: tuple[int, ...], op: str, sides: tuple[int, int], threads: int) -> None:
    module = on_x(shape, window(op, sides))
    assert [t for _, t, _, _ in steps(module)] == [threads]
    assert_on_gpu(module, *both(shape))


def test_windows_of_any_size() -> None:
    module = on_x((M, N, 17, 5), window("det.window_sum", (3, 3), dilations=(1, 2, 1, 1)))
    assert_on_gpu(module, *both((2, 16, 17, 5), (0, 7, 17, 5), (1, 4, 17, 5)))


# Elements


def test_neighbours_are_loaded_and_stored_as_vectors() -> None:
    def body(b: Builder, x: Value, y: Value, z: Value) -> Value:
        return b.op("det.fma", x, y, z)

    types = {"x": (M, 7, 8), "y": (8,), "z": (7, 1)}
    module = program({n: TensorType(F32, s) for n, s in types.items()}, body)
    counts = build_artifact(module, "cuda").audit["ptx"]
    assert (counts["ld.global.nc.v4.b32"], counts["st.global.v4.b32"]) == (2, 1)
    inputs = ({"x": values(m, 7, 8), "y": values(8), "z": values(7, 1)} for m in (0, 1, 5))
    assert_on_gpu(module, *inputs)


def test_movement_that_keeps_neighbours() -> None:
    def body(b: Builder, x: Value, i: Value) -> list[Value]:
        pads: dict[str, Any] = {"low": (1, 0, 0), "high": (0, 2, 0), "mode": "constant"}
        y = b.op("det.gather", x, i, axis=1)
        z = b.op("det.slice", x, starts=(0, 1, 4), steps=(1, 2, 1), sizes=(M, 2, 4))
        return [
            b.op("det.transpose", x, permutation=(1, 0, 2)),
            b.op("det.pad", x, b.constant(np.full((), 3, np.float32)), **pads),
            b.op("det.add", y, y),
            b.op("det.broadcast_to", z, shape=(7, M, 2, 4)),
        ]

    types = {"x": TensorType(F32, (M, 5, 12)), "i": TensorType(DType.I64, (3,))}
    module = program(types, body, least=1)
    counts = build_artifact(module, "cuda").audit["ptx"]
    assert (counts["ld.global.nc.v4.b32"], counts["st.global.v4.b32"]) == (4, 4)
    assert "st.global.b32" not in counts
    index = np.array([4, -1, 0])
    assert_on_gpu(module, *({"x": values(m, 5, 12), "i": index} for m in (1, 3)))


@pytest.mark.parametrize(
    ("shape", "permutation", "threads"),
    [
        ((2, 33, 40), (0, 2, 1), 256),
        ((M, 17, 3, N), (0, 3, 1, 2), 256),  # two axes taken as one
        ((N, 1, 20, M), (3, 2, 1, 0), 256),
        ((2, 70, 3), (0, 2, 1), 128),  # most of a square would be empty
    ],
)
def test_transposes(shape: Shape, permutation: tuple[int, ...], threads: int) -> None:
    def body(b: Builder, x: Value, y: Value) -> list[Value]:
        return [b.op("det.transpose", v, permutation=permutation) for v in (x, y)]

    types = {"x": TensorType(F32, shape), "y": TensorType(DType.I4, shape)}
    module = program(types, body)
    assert [t for _, t, _, _ in steps(module)] == [threads] * 2
    for m, n in [(2, 66), (0, 5), (5, 1)]:
        x = values(*(m if d is M else n if d is N else d for d in shape))
        y = _RANDOM.integers(-8, 8, x.shape).astype(DType.I4.numpy)
        assert_on_gpu(module, {"x": x, "y": y})
        if M not in shape:
            break


def test_vectors_of_narrow_elements() -> None:
    def body(b: Builder, x: Value, y: Value, z: Value) -> list[Value]:
        half = b.op("det.select", y, b.op("det.add", x, x), x)
        return [half, b.op("det.add", z, z), b.op("det.cast", z, to=DType.F16)]

    types = {"x": DType.F16, "y": DType.BOOL, "z": DType.U8}
    module = program({n: TensorType(t, (9, 12)) for n, t in types.items()}, body)
    x, z = values(9, 12).astype(np.float16), _RANDOM.integers(0, 256, (9, 12), np.uint8)
    assert_on_gpu(module, {"x": x, "y": z > 99, "z": z})


@pytest.mark.parametrize(
    "shapes", [[(3, 4, 2), (3, 6, 2), (3, 2, 2)], [(3, M, 2), (3, N, 2), (3, 2, 2)]]
)
def test_concat(shapes: list[Shape]) -> None:
    types = {n: TensorType(F32, s) for n, s in zip("xyz", shapes)}
    module = program(types, lambda b, *xs: b.op("det.concat", *xs, axis=1))
    sizes = [(4, 6)] if shapes[0][1] == 4 else [(0, 3), (5, 0), (3, 3), (0, 0)]
    for m, n in sizes:
        assert_on_gpu(module, {"x": values(3, m, 2), "y": values(3, n, 2), "z": values(3, 2, 2)})


# Lines


def ties(*shape: int) -> Array:
    """Numbers many of which are equal, or NaN, or zeros of either sign."""
    x = np.round(finite(*shape))
    return np.where(_RANDOM.random(shape) < 0.1, np.float32(np.nan), x)


@pytest.mark.parametrize("last", [False, True])
def test_extremes_of_lines(last: bool) -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        return [
            b.op(f"det.arg_{name}", x, axis=axis, keepdims=False, last=last)
            for name, axis in (("max", 1), ("min", 1), ("max", 0))
        ]

    inputs = [{"x": ties(5, m)} for m in (1, 9, 1300)]
    inputs += [{"x": np.full((5, 40), c, np.float32)} for c in (np.nan, -np.inf)]
    assert_on_gpu(on_x((5, M), body, least=1), *inputs)


def test_extremes_of_short_lines() -> None:
    """Of which a block has several."""

    def body(b: Builder, x: Value) -> list[Value]:
        kept: dict[str, Any] = {"axis": 1, "keepdims": False}
        return [b.op("det.arg_max", x, last=last, **kept) for last in (False, True)]

    assert_on_gpu(on_x((5, 30), body), {"x": ties(5, 30)})


def test_extremes_of_integers() -> None:
    for dtype in (DType.U8, DType.I64):
        least, most = (0, 255) if dtype is DType.U8 else (-(2**63), 2**63 - 1)
        x = np.array([[least] * 20, [most] * 20], dtype.numpy)
        module = on_x(
            (2, 20), lambda b, x: b.op("det.arg_min", x, axis=1, keepdims=False, last=True), dtype
        )
        assert_on_gpu(module, {"x": x})


@pytest.mark.parametrize("axis", [0, 1])
def test_sorting(axis: int) -> None:
    shape = (M, 3) if axis == 0 else (3, M)

    def body(b: Builder, x: Value) -> list[Value]:
        some = b.ops("det.top_k", x, axis=axis, k=3, largest=True)
        return [*some, *b.ops("det.top_k", x, axis=axis, k=M, largest=False)]

    inputs = [{"x": ties(*((m, 3) if axis == 0 else (3, m)))} for m in (3, 7, 130)]
    assert_on_gpu(on_x(shape, body, least=3), *inputs)


def test_running_sums() -> None:
    def body(b: Builder, x: Value) -> list[Value]:
        flags = ((0, False, True), (1, True, False))
        return [
            b.op("det.cumulative_sum", x, axis=axis, exclusive=exclusive, reverse=reverse)
            for axis, exclusive, reverse in flags
        ]

    assert_on_gpu(on_x((M, 33), body), *both((70, 33), (0, 33)))


@pytest.mark.parametrize("searched", [True, False])
def test_scatter_with_repeated_indices(searched: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Updates of one element in their order; by a thread for each element, or for each line."""
    if not searched:
        monkeypatch.setattr(scatter, "_LOOKS", 0)

    def body(b: Builder, x: Value, i: Value, u: Value, at: Value, slices: Value) -> list[Value]:
        lines = [
            b.op("det.scatter_elements", x, i, u, axis=1, reduction=reduction)
            for reduction in ("none", "add")
        ]
        return [
            *lines,
            b.op("det.scatter_nd", x, at, slices, reduction="mul"),
        ]

    shapes = {"x": (4, 6, 5), "i": (3, 9, 5), "u": (3, 9, 5), "at": (8, 2), "slices": (8, 5)}
    integers = ("i", "at")
    types = {n: TensorType(DType.I64 if n in integers else F32, s) for n, s in shapes.items()}
    module = program(types, body)
    assert [t for *_, t in steps(module)][:1] == ["120" if searched else "20"]
    given: Mapping[str, Array] = {
        n: _RANDOM.integers(-6, 6, s) if n in integers else values(*s) for n, s in shapes.items()
    }
    assert_on_gpu(module, given)


# The machine


def test_nothing_is_spilled(tmp_path: Path) -> None:
    """Nor is local memory used, in any of these schedules."""

    def body(b: Builder, x: Value, y: Value) -> list[Value]:
        return [softmax(b, x), *norm(b, x), softmax(b, y), *norm(b, y), total((0,))(b, x)]

    types = {"x": TensorType(F32, (600, 768)), "y": TensorType(F32, (M, N))}
    artifact = build_artifact(program(types, body), "cuda")
    assert not any("local" in opcode for opcode in artifact.audit["ptx"])
    if shutil.which("ptxas") is None:
        pytest.skip("ptxas is not installed")
    path = tmp_path / "kernel.ptx"
    path.write_bytes(artifact.code)
    for processor in ("sm_80", "sm_90"):
        command = ["ptxas", f"-arch={processor}", "-v", str(path), "-o", str(tmp_path / "cubin")]
        report = subprocess.run(command, capture_output=True, text=True, check=True).stderr
        found = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill", report)
        assert len(found) == len(artifact.plan["steps"]) and set(found) == {("0", "0")}


@pytest.mark.parametrize("length", [15, 511])
def test_a_sequence_that_is_no_whole_number_of_vectors(length: int) -> None:
    """LLVM reads shared memory by vectors."""
    module = program(
        {"x": TensorType(F32, (8, length))},
        lambda b, x: b.op("det.reduce_sum", x, axes=(1,), keepdims=False, order="seq"),
    )
    assert_on_gpu(module, {"x": values(8, length)})
