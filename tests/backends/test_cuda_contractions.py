"""GPU schedules of contractions: every tile gives the reference's bytes, and is as it should be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import Mock, patch

import numpy as np
import pytest

from aivmc.backends.artifact import Artifact
from aivmc.backends.build import build_artifact
from aivmc.backends.cuda.occupancy import MULTIPROCESSORS, occupancy, resident_blocks
from aivmc.backends.cuda.ptxas import Usage, find_ptxas, usages
from aivmc.backends.cuda.schedules import contract
from aivmc.backends.cuda.schedules.operands import index_type
from aivmc.backends.cuda.schedules.tile_shapes import DEPTH, TILES, Loads, Tile, tile_for
from aivmc.ir.binding import InputError
from aivmc.ir.builder import Builder
from aivmc.ir.core import Module, Value
from aivmc.ir.dims import symbol
from aivmc.ir.types import DType, TensorType
from aivmc.ptx.parser import parse
from aivmc.ptx.syntax import Symbol
from aivmc.runtime.errors import NodeError
from aivmc.runtime.launches import Launch, LaunchPlan
from tests.backends.op_harness import Array, program
from tests.backends.test_cuda import (
    NOT_PADDED,
    assert_on_gpu,
    convolution,
    convolution_attributes,
    matmul,
    values,
)

M, N = symbol("M"), symbol("N")
PTXAS = find_ptxas()
_RANDOM = np.random.default_rng(12)


@contextmanager
def only(tile: Tile) -> Iterator[Mock]:
    """All contractions by this tile, in units of their own."""
    with patch.object(contract, "tile_for") as tile_for:
        tile_for.side_effect = lambda *arguments: replace(tile, depth=arguments[4])
        yield tile_for


def factors(a: tuple[int, ...], b: tuple[int, ...]) -> dict[str, Array]:
    """Numbers whose sums round differently in any other order; infinities, NaN and their like where
    they spoil a part of the results only; a row and a column whose products vanish, to -0."""
    x, y = (_RANDOM.standard_normal(shape).astype(np.float32) for shape in (a, b))
    for array in (x.reshape(-1, a[-1])[1:4], y[..., 1:4]):
        array[:] = values(*array.shape)
    x[..., -1, :], y[..., -1] = -1e-30, 1e-30
    return {"a": x, "b": y}


def integers(dtype: DType, *shape: int) -> Array:
    info = np.iinfo(dtype.numpy)  # type: ignore[type-var]
    x = _RANDOM.integers(info.min, info.max, shape, endpoint=True).astype(dtype.numpy)
    return np.where(_RANDOM.random(shape) < 0.1, info.min, x).astype(dtype.numpy)


def floats(dtype: DType, *shape: int) -> Array:
    return values(*shape).astype(dtype.numpy)


def constant_matmul(x: tuple[Any, ...], w: Array, **attributes: Any) -> Module:
    block = 512 if w.dtype.kind not in "iu" else 0
    types = {"x": TensorType(DType.of(w.dtype), x)}
    return program(types, lambda b, x: b.op("det.matmul", x, b.constant(w), block=block))


def constant_convolution(x: tuple[Any, ...], w: Array, **changes: Any) -> Module:
    """Its weights are constant, so they are packed."""
    attributes = convolution_attributes(w.shape, **changes)
    if w.dtype.kind in "iu":
        attributes["block"] = 0
    types = {"x": TensorType(DType.of(w.dtype), x)}
    return program(types, lambda b, x: b.op("det.conv", x, b.constant(w), **attributes))


def threads_of(module: Module) -> list[tuple[int, int]]:
    """Of a block, and its tasks, for each contraction."""
    steps = build_artifact(module, "cuda").plan["steps"]
    return [(s["threads"], s["tasks_per_block"]) for s in steps if "contract" in s["function"]]


# Tiles

WINDOWED = (
    Tile(16, 16, 4),
    pytest.param(Tile(32, 4, 4), marks=pytest.mark.slow),
    pytest.param(Tile(16, 16, 8), marks=pytest.mark.slow),
    pytest.param(Tile(8, 8, 8), marks=pytest.mark.slow),
)
SOME = (Tile(8, 8, 8), Tile(4, 16, 4, groups=4))
ALL = (*TILES, Tile(8, 8, 8, 2), Tile(4, 16, 4, 4), Tile(8, 8, 4, 8), Tile(32, 4, 4, 2))
EVERY = [t if t in SOME else pytest.param(t, marks=pytest.mark.slow) for t in ALL]


@pytest.mark.parametrize("tile", EVERY, ids=str)
def test_every_tile(tile: Tile) -> None:
    """Parts of tiles in all directions, scalars and vectors, one block of k and several."""
    rows, columns = tile.rows + 3, tile.columns + 4
    depths = (520,) if tile.groups > 1 else (37, 520)
    with only(tile):
        for depth in depths:
            a, b = (rows, depth), (depth, columns + depth % 2)
            assert_on_gpu(matmul(a, b), factors(a, b))


@pytest.mark.parametrize("depth", [528, 1025, 2600])
def test_blocks_of_k_are_added_in_order(depth: int) -> None:
    """Rounds of groups of which the last ones may have no block, or a shorter one."""
    a, b = (5, depth), (depth, 36)
    with only(Tile(8, 8, 4, groups=4)), patch.object(contract, "warps_for", lambda _: None):
        assert_on_gpu(matmul(a, b), factors(a, b))


def test_a_long_epilogue_is_a_loop() -> None:
    def body(b: Builder, x: Value, y: Value) -> Value:
        return b.op("det.tanh", b.op("det.matmul", x, y, block=512))

    types = {"x": TensorType(DType.F32, (70, 520)), "y": TensorType(DType.F32, (520, 68))}
    module = program(types, body)
    for tile in (Tile(8, 8, 8), Tile(16, 16, 4)):
        with only(tile):
            code = build_artifact(module, "cuda").code
            assert code.count(b"st.global") <= 4
    with only(Tile(16, 16, 4)):
        assert_on_gpu(module, {"x": values(70, 520), "y": values(520, 68)})


def test_a_shape_gets_its_tile() -> None:
    assert tile_for(1, 4096, 4096, 2).side == 8  # enough for all multiprocessors
    assert tile_for(1, 4096, 16, 1).columns == 16
    assert tile_for(1, 16, 4096, 1).rows == 16
    assert tile_for(1, 128, 256, 8).groups == 8  # else most multiprocessors had nothing to do
    assert tile_for(64, 1024, 1024, 8).groups == 1
    assert tile_for(1, 128 * N, 1024, 1).side == 8
    assert tile_for(1, 4096, 16, 1, loads=Loads(a=1)).columns == 32
    assert tile_for(1, 128, 128, 1, loads=Loads(a=4)).side == 8


def test_a_launch_has_no_more_blocks_than_a_gpu_takes() -> None:
    tiles = Launch("k0_contract", (), (), threads=256, tasks_per_block=1, has_scratch=False)
    assert tiles.blocks(2**31 - 1, scratch=0) == 2**31 - 1
    with pytest.raises(NodeError, match="k0_contract needs 2147483648 blocks"):
        tiles.blocks(2**31, scratch=0)
    sorts = Launch("k0_single", (), (), threads=128, tasks_per_block=128, has_scratch=True)
    assert sorts.blocks(1000, scratch=64) == 8
    assert sorts.blocks(2**40, scratch=64) == 2**26 // (64 * 128)  # for 64 MiB of it
    assert sorts.blocks(1000, scratch=2**30) == 1


def test_symbolic_shapes_have_no_larger_tensors_than_indices() -> None:
    def launch(m: Any, n: int) -> Launch:
        plan = build_artifact(constant_matmul((m, 16), values(16, n)), "cuda").plan
        return LaunchPlan.from_json(plan).launches[0]

    for columns, rows in ((2, 2**27), (32, 2**26)):  # the operand is the largest, the result is
        launch(N, columns).require_narrow({"N": rows - 2**13})
        with pytest.raises(InputError, match=r"2147483648 elements; k0_contract .*\(--shape\)"):
            launch(N, columns).require_narrow({"N": rows})
    launch(2**27, 2).require_narrow({})  # the indices have 64 bits


def test_windows_start_in_the_padding() -> None:
    around: dict[str, Any] = {"low": (0, 512), "high": (0, 512)}
    module = padded_after((1, 4, N, 1024), values(8, 4, 1, 2**9), **around)
    plan = LaunchPlan.from_json(build_artifact(module, "cuda").plan)
    assert "8192*N" in {str(size) for launch in plan.launches for size in launch.narrow}


# Few rows


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 5), (5, 3)),
        ((1, 1100), (1100, 70)),  # three blocks of k, two whole warps of columns and a part
        ((2, 4, 520), (520, 33)),  # the rows of all of the batch
        ((3, 2, 20), (3, 20, 40)),
        ((7, 4700), (4700, 32)),  # more blocks than warps
    ],
)
def test_few_rows(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    module = matmul(a, b)
    blocks = -(-a[-1] // 512)
    assert threads_of(module) == [(32 * min(blocks, 8), 1)]
    assert_on_gpu(module, factors(a, b))


def test_few_rows_by_constant_weights() -> None:
    """Packed, for their rows are not whole vectors; and of a number that isn't known."""
    w = values(600, 30)
    assert_on_gpu(constant_matmul((3, 600), w), {"x": values(3, 600)})
    inputs = [{"x": values(n, 600)} for n in (1, 40, 0)]
    assert_on_gpu(constant_matmul((N, 600), w), *inputs)


# Convolutions


@pytest.mark.parametrize(
    ("x", "w", "changes"),
    [
        ((1, 40, 9, 7), (35, 40, 3, 3), {}),  # packed features are padded; two blocks of channels
        ((1, 64, 6, 6), (66, 64, 1, 1), NOT_PADDED),
        ((2, 12, 9, 7), (18, 6, 3, 3), {"group": 2, "strides": (2, 1), "dilations": (1, 2)}),
    ],
)
def test_convolutions_with_packed_weights(
    x: tuple[int, ...], w: tuple[int, ...], changes: dict[str, Any]
) -> None:
    assert_on_gpu(constant_convolution(x, values(*w), **changes), {"x": values(*x)})


@pytest.mark.parametrize(
    ("x", "channels", "changes"),
    [
        ((1, 8, 9, 8), 8, {}),
        ((2, 6, 9, 7), 6, {"strides": (2, 2)}),
        ((N, 4, M, 5), 4, {"dilations": (2, 1)}),
    ],
)
def test_depthwise_convolutions(x: tuple[Any, ...], channels: int, changes: dict[str, Any]) -> None:
    weights = values(channels, 1, 3, 3)
    module = constant_convolution(x, weights, group=channels, **changes)
    assert threads_of(module) == [(128, 128)]
    shape = tuple({N: 2, M: 6}.get(d, d) for d in x)
    assert_on_gpu(module, {"x": values(*shape)})
    if all(isinstance(d, int) for d in x):
        module = convolution(x, (channels, 1, 3, 3), group=channels, **changes)
        assert_on_gpu(module, {"x": values(*x), "w": weights})


def test_a_thread_has_several_places_of_a_depthwise_convolution() -> None:
    with patch("aivmc.backends.cuda.schedules.depthwise._THREADS", 8):
        module = constant_convolution((1, 8, 5, 8), values(8, 1, 3, 3), group=8)
        text = build_artifact(module, "cuda").code.decode()
        assert_on_gpu(module, {"x": values(1, 8, 5, 8)})
    kernel = next(k for name, k in parse(text).kernels.items() if "contract" in name)
    loads = [i for i in kernel.instructions if i.opcode == "ld.global.nc.v4.b32"]
    assert len(loads) == 9 + 3 * 6  # the weights, and each place of the window of four once


# Padding


def padded_after(x: tuple[Any, ...], w: Array, padding: float = 0, **changes: Any) -> Module:
    """A convolution of an activation, with its padding: a copy that CPUs make."""
    pointwise = values(x[1], x[1], 1, 1)

    def body(b: Builder, x: Value) -> Value:
        pads = {side: (0, 0, *changes.get(side, (1, 1))) for side in ("low", "high")}
        attributes = convolution_attributes(pointwise.shape, **NOT_PADDED)
        y = b.op("det.conv", x, b.constant(pointwise), **attributes)
        if padding:
            y = b.op("det.pad", y, b.constant(np.float32(padding)), mode="constant", **pads)
            changes.update(NOT_PADDED)
        return b.op("det.conv", y, b.constant(w), **convolution_attributes(w.shape, **changes))

    return program({"x": TensorType(DType.F32, x)}, body)


@pytest.mark.parametrize(
    ("x", "w", "changes"),
    [
        pytest.param((1, 12, 5, 6), (36, 12, 3, 3), {}, marks=pytest.mark.slow),
        ((1, 8, 4, 5), (6, 4, 3, 2), {"group": 2, "low": (2, 1), "high": (0, 3)}),
        pytest.param((N, 4, M, 5), (6, 4, 3, 3), {"strides": (2, 2)}, marks=pytest.mark.slow),
        pytest.param(
            *((1, 3, 9, 9), (8, 3, 7, 7), {"low": (3, 3), "high": (2, 3), "strides": (2, 2)}),
            marks=pytest.mark.slow,
        ),
        pytest.param((1, 8, 5, 8), (8, 1, 3, 3), {"group": 8}, marks=pytest.mark.slow),
        ((1, 6, 5, 7), (6, 1, 3, 3), {"group": 6, "strides": (2, 1), "dilations": (1, 2)}),
    ],
)
def test_padding_is_read_not_copied(
    x: tuple[Any, ...], w: tuple[int, ...], changes: dict[str, Any]
) -> None:
    weights = values(*w)
    weights.flat[::7] = np.inf  # padding is multiplied, too
    module = padded_after(x, weights, **changes)
    functions = [s["function"] for s in build_artifact(module, "cuda").plan["steps"]]
    assert [f.partition("_")[2] for f in functions] == ["map", "contract", "contract", "map"]
    assert len(build_artifact(module, "cpu").plan["steps"]) == 5
    shape = tuple({N: 2, M: 6}.get(d, d) for d in x)
    assert_on_gpu(module, {"x": values(*shape)})


@pytest.mark.slow
def test_other_padding_is_copied() -> None:
    w = values(6, 4, 3, 3)
    module = padded_after((1, 4, 5, 5), w, padding=1.5)
    assert len(build_artifact(module, "cuda").plan["steps"]) == 6
    assert_on_gpu(module, {"x": values(1, 4, 5, 5)})


def test_a_padded_copy_that_others_read_stays() -> None:
    w = values(6, 4, 3, 3)

    def body(b: Builder, x: Value) -> list[Value]:
        y = b.op("det.conv", x, b.constant(w), **convolution_attributes(w.shape, **NOT_PADDED))
        sides: dict[str, Any] = {"low": (0, 0, 1, 1), "high": (0, 0, 1, 1)}
        z = b.op("det.pad", y, b.constant(np.float32(0)), mode="constant", **sides)
        v = b.constant(values(4, 6, 3, 3))
        return [b.op("det.conv", z, v, **convolution_attributes((4, 6, 3, 3), **NOT_PADDED)), z]

    module = program({"x": TensorType(DType.F32, (1, 4, 6, 6))}, body)
    assert_on_gpu(module, {"x": values(1, 4, 6, 6)})


_PADDED: dict[str, Any] = {"low": (1, 2), "high": (2, 0)}


@pytest.mark.parametrize(
    ("window", "channels", "unit", "changes"),
    [
        ((3, 3), 5, 9, {"dilations": (2, 1)}),
        pytest.param((1, 3), 4, 12, {"strides": (2, 1)}, marks=pytest.mark.slow),  # 4 windows
        ((2, 2), 6, 12, {}),  # three
        pytest.param((4, 4), 3, 16, {}, marks=pytest.mark.slow),  # a window, its bits twice in 64
        ((5, 5), 3, 5, {}),  # a line of a window
        pytest.param((7, 7), 3, 7, {"strides": (2, 2)}, marks=pytest.mark.slow),
        pytest.param((6, 6), 2, 12, {}, marks=pytest.mark.slow),  # two lines
        pytest.param((1, 17), 2, DEPTH, {"low": (0, 9)}, marks=pytest.mark.slow),  # no unit
        pytest.param((3, 3), 66, 9, {"block": 32}, marks=pytest.mark.slow),  # blocks of k
    ],
)
@pytest.mark.parametrize("tile", WINDOWED, ids=str)
def test_windows(
    tile: Tile, window: tuple[int, int], channels: int, unit: int, changes: dict[str, Any]
) -> None:
    """Units of whole windows and of lines; threads with one step of a unit and with all."""
    weights = values(18, channels, *window)
    weights.flat[::7] = np.inf  # padding is multiplied, too
    module = padded_after((1, channels, 7, 18), weights, **{**_PADDED, **changes})
    with only(tile) as chosen:
        assert_on_gpu(module, {"x": values(1, channels, 7, 18)})
    assert [arguments.args[4] for arguments in chosen.call_args_list] == [DEPTH, unit]


@pytest.mark.parametrize(
    ("x", "w", "changes"),
    [
        ((1, 4, 3, 4, 5), (6, 4, 3, 3, 3), {"low": (1, 1, 1), "high": (1, 0, 2)}),
        ((2, 4, 19), (8, 2, 5), {"low": (2,), "high": (2,), "group": 2, "block": 2}),
    ],
)
def test_windows_of_other_ranks(
    x: tuple[int, ...], w: tuple[int, ...], changes: dict[str, Any]
) -> None:
    rank = len(w) - 2
    steps = {"strides": (1,) * rank, "dilations": (1,) * rank, "block": 4}
    attributes = {"group": 1, "layout": "channels_first", **steps, **changes}
    types = {"x": TensorType(DType.F32, x)}
    weights = values(*w)
    module = program(types, lambda b, x: b.op("det.conv", x, b.constant(weights), **attributes))
    assert_on_gpu(module, {"x": values(*x)})


def test_blocks_of_windows_by_groups() -> None:
    w = values(18, 66, 3, 3)
    with only(Tile(8, 8, 4, groups=2)):
        module = constant_convolution((1, 66, 6, 7), w, **NOT_PADDED, block=32)
        assert_on_gpu(module, {"x": values(1, 66, 6, 7)})


def test_large_tensors_have_indices_of_64_bits() -> None:
    assert index_type(2**31) == "int64" != index_type(2**31 - 2**17) == index_type(N) == "int32"

    def chosen(x: tuple[int, ...], w: Array, **changes: Any) -> int:
        return counts(build_artifact(padded_after(x, w, **changes), "cuda"))["selp.b64"]

    w = values(8, 4, 3, 3)
    assert chosen((1, 4, 2**14, 2**13), w) < chosen((1, 4, 2**15, 2**14), w)
    w = values(8, 16, 3, 3)  # the images have few elements, and their results too
    few, many = ((2**n, 16, 64, 64) for n in (8, 18))
    assert chosen(few, w, strides=(2, 2)) < chosen(many, w, strides=(2, 2))


# Other dtypes


@pytest.mark.parametrize("dtype", [DType.F16, pytest.param(DType.BF16, marks=pytest.mark.slow)])
def test_narrow_floats(dtype: DType) -> None:
    w = floats(dtype, 40, 36)
    assert_on_gpu(constant_matmul((34, 40), w), {"x": floats(dtype, 34, 40)})
    w = floats(dtype, 20, 8, 3, 3)
    assert_on_gpu(constant_convolution((1, 8, 6, 6), w), {"x": floats(dtype, 1, 8, 6, 6)})


SLOW = [
    pytest.param(t, marks=pytest.mark.slow) for t in (DType.U8, DType.I16, DType.I32, DType.U32)
]


@pytest.mark.parametrize("dtype", [DType.I8, *SLOW])
def test_integers(dtype: DType) -> None:
    for m, k, n in ((34, 40, 36), (3, 600, 30)):
        module = constant_matmul((m, k), integers(dtype, k, n))
        assert threads_of(module)[0][1] == 1
        assert_on_gpu(module, {"x": integers(dtype, m, k)})
    w = integers(dtype, 20, 6, 3, 3)
    assert_on_gpu(constant_convolution((1, 6, 6, 6), w), {"x": integers(dtype, 1, 6, 6, 6)})


# Words of bytes

WORDS = "cuda:sm_61"


def bytes_matmul(x: tuple[int, ...], w: Array) -> Module:
    types = {"x": TensorType(DType.U8, x)}
    return program(types, lambda b, x: b.op("det.matmul", x, b.constant(w), block=0))


def bytes_convolution(x: tuple[int, ...], w: Array, **changes: Any) -> Module:
    attributes = {**convolution_attributes(w.shape, **changes), "block": 0}
    types = {"x": TensorType(DType.U8, x)}
    return program(types, lambda b, x: b.op("det.conv", x, b.constant(w), **attributes))


@pytest.mark.parametrize("dtype", [DType.I8, pytest.param(DType.U8, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("x", "w"),
    [
        ((34, 40), (40, 36)),
        ((34, 39), (39, 34)),  # rows are not aligned, the last word is a part
        ((3, 2602), (2602, 30)),  # few rows
    ],
)
def test_products_of_bytes(x: tuple[int, ...], w: tuple[int, ...], dtype: DType) -> None:
    module = bytes_matmul(x, integers(dtype, *w))
    artifact = build_artifact(module, WORDS)
    assert counts(artifact)[f"dp4a.u32.{'s' if dtype.is_signed else 'u'}32"]
    # Indices are multiplied by constants.
    assert not re.search(rb"mad\.lo\.s32 \t%\w+, %\w+, %\w+,", artifact.code)
    assert_on_gpu(module, {"x": integers(DType.U8, *x)}, target=WORDS)


@pytest.mark.parametrize(
    ("x", "w", "changes"),
    [
        ((1, 16, 6, 6), (36, 16, 3, 3), {}),  # vectors of words
        ((1, 6, 6, 6), (18, 6, 3, 3), {"dilations": (2, 1)}),  # the last word of a place is a part
        ((2, 8, 6, 6), (10, 4, 1, 3), {"group": 2, "strides": (2, 1)}),
        ((1, 8, 5, 6), (8, 1, 3, 3), {"group": 8}),
    ],
)
def test_convolutions_of_bytes(
    x: tuple[int, ...], w: tuple[int, ...], changes: dict[str, Any]
) -> None:
    module = bytes_convolution(x, integers(DType.I8, *w), **changes)
    used = counts(build_artifact(module, WORDS))
    assert ("dp4a.u32.s32" in used) == (changes.get("group") != 8)
    assert_on_gpu(module, {"x": integers(DType.U8, *x)}, target=WORDS)


@pytest.mark.parametrize("columns", [64, 63])  # results are stored by vectors, or by a loop
def test_a_tile_of_products_of_bytes(columns: int) -> None:
    with only(Tile(8, 8, 8)):
        module = bytes_matmul((64, 64), integers(DType.I8, 64, columns))
        assert_on_gpu(module, {"x": integers(DType.U8, 64, 64)}, target=WORDS)


def test_a_sum_of_bytes_wraps() -> None:
    x, w = np.full((1, 70000), 255, np.uint8), np.full((70000, 4), 127, np.int8)
    w[:, 1], w[:, 2] = -128, 1
    assert_on_gpu(bytes_matmul(x.shape, w), {"x": x}, target=WORDS)


# What the code is like


def counts(artifact: Artifact) -> Mapping[str, int]:
    found: Mapping[str, int] = artifact.audit["ptx"]
    return found


def main_loop(text: str) -> list[str]:
    """The opcodes of the loop with all fused multiply-adds, the shortest if there are several."""
    (kernel,) = parse(text).kernels.values()
    opcodes = [i.opcode for i in kernel.instructions]
    loops = [
        opcodes[kernel.labels[i.operands[0].name] : n]
        for n, i in enumerate(kernel.instructions)
        if i.opcode.startswith("bra") and isinstance(i.operands[0], Symbol)
    ]
    most = opcodes.count("fma.rn.f32")
    return min((loop for loop in loops if loop.count("fma.rn.f32") == most), key=len)


@pytest.mark.parametrize("tile", TILES, ids=str)
def test_a_step_has_one_barrier_and_few_loads(tile: Tile) -> None:
    """At least 8 fused multiply-adds for a load from shared memory, all of which are of vectors;
    what the next step needs is under way while a third of a step or more is computed."""
    with only(tile):
        artifact = build_artifact(matmul((256, 1024), (1024, 256)), "cuda")
    loop = main_loop(artifact.code.decode())
    loads = [opcode for opcode in loop if opcode.startswith("ld.shared")]
    assert set(loads) == {"ld.shared.v4.b32"}
    assert loop.count("fma.rn.f32") == tile.side**2 * 8 >= 8 * len(loads)
    assert loop.count("bar.sync") == 1
    kinds = ["".join(opcode.split(".")[:2]) for opcode in loop]
    stored = [n for n, kind in enumerate(kinds) if kind == "stshared"]
    loaded = [n for n, kind in enumerate(kinds) if kind == "ldglobal"]
    meanwhile = [kinds[n : min(m for m in stored if m > n)].count("fmarn") for n in loaded]
    assert meanwhile and min(meanwhile) * 3 >= tile.side**2 * 8
    assert {o for o in counts(artifact) if o.startswith("st.global")} == {"st.global.v4.b32"}
    assert not any("local" in opcode for opcode in counts(artifact))
    integer = [o for o in loop if o.split(".")[0] in ("add", "mul", "mad", "shl", "and", "min")]
    assert len(integer) <= 40


def used(code: bytes, machine: str) -> dict[str, Usage]:
    found = usages(str(PTXAS), code.decode("ascii"), machine)
    assert found
    return found


@pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed")
@pytest.mark.parametrize("machine", ["sm_80", "sm_90"])
@pytest.mark.parametrize("tile", EVERY, ids=str)
def test_nothing_is_spilled(tile: Tile, machine: str) -> None:
    """And half of the threads that a multiprocessor has room for, 2048, have registers, or each has
    8 by 8 sums."""
    shapes = [((256, 1024), (1024, 256))]
    if tile.groups == 1:
        shapes.append(((70, 40), (40, 61)))
    for a, b in shapes:
        with only(tile):
            code = build_artifact(matmul(a, b), "cuda").code
        (usage,) = used(code, machine).values()
        assert usage.spills == 0
        assert tile.side == 8 or usage.registers * 1024 <= 1 << 16


@pytest.mark.parametrize("machine", ["sm_80", "sm_90"])
@pytest.mark.parametrize("blocks", [1, 2, 8])
@pytest.mark.parametrize("depth", range(4, 17))
def test_half_of_the_threads_have_room_or_many_sums(depth: int, blocks: int, machine: str) -> None:
    shapes = [(m, n) for m in (16, 60, 400, 3000) for n in (16, 60, 400, 3000)]
    tiles = {tile_for(1, m, n, blocks, depth) for m, n in shapes}
    assert {tile.side for tile in tiles} == {4, 8}
    for tile in tiles:
        sm = MULTIPROCESSORS[machine]
        resident = resident_blocks(sm, tile.threads, tile.shared_bytes(blocks), tile.registers)
        assert tile.side == 8 or occupancy(sm, tile.threads, resident) >= 0.5


@pytest.mark.skipif(PTXAS is None, reason="ptxas is not installed")
@pytest.mark.parametrize("machine", ["sm_80", "sm_90"])
@pytest.mark.parametrize(
    ("x", "w", "changes"),
    [
        ((1, 64, 56, 56), (64, 64, 3, 3), {}),
        ((1, 128, 28, 28), (256, 128, 3, 3), {"strides": (2, 2)}),
        ((N, 512, 7, 7), (512, 512, 3, 3), {}),
        ((N, 3, 224, 224), (64, 3, 7, 7), {"low": (3, 3), "high": (3, 3), "strides": (2, 2)}),
        ((1, 8, 320, 320), (8, 8, 3, 3), {}),
        ((N, 16, 160, 160), (16, 16, 3, 3), {}),
        ((N, 3, 224, 224), (32, 3, 3, 3), {"strides": (2, 2)}),
        ((1, 96, 20, 20), (96, 96, 3, 3), {}),
        ((N, 256, 14, 14), (256, 8, 3, 3), {"group": 32}),
        ((1, 66, 28, 29), (66, 11, 3, 3), {"group": 6}),
    ],
)
def test_nothing_is_spilled_by_convolutions(
    x: tuple[Any, ...], w: tuple[int, ...], changes: dict[str, Any], machine: str
) -> None:
    module = padded_after(x, np.ones(w, np.float32), **changes)
    with patch.object(contract, "tile_for", side_effect=tile_for) as chosen:
        found = used(build_artifact(module, "cuda").code, machine)
    assert {usage.spills for usage in found.values()} == {0}
    sides = {tile_for(*call.args).side for call in chosen.call_args_list}
    most = max(usage.registers for name, usage in found.items() if "contract" in name)
    assert 8 in sides or most <= 64
