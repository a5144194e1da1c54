"""One kernel, one input, one set of bits: whatever threads, target, batch, shapes and process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import aivmc
from aivmc.backends.cpu.targets import resolve
from aivmc.compiler import canonicalize
from aivmc.ir.constants import Array
from aivmc.ir.interpret import interpret
from aivmc.runtime.environment import missing_features
from tests.float_environment import DEFAULT, ENVIRONMENT, HOSTILE
from tests.guarantees.examples_kit import PUBLISHED, SMALL, Examples, inputs_for, same_bits
from tests.onnx_models import build

F32 = np.float32
CANONICAL_NAN = 0x7FC00000
PUBLISHED_MODELS = [pytest.param(name, marks=pytest.mark.models) for name in PUBLISHED]

needs_v4 = pytest.mark.skipif(
    bool(missing_features(resolve("x86-64-v4").requires)), reason="this node has no AVX-512"
)


@cache
def tiny_numbers() -> onnx.ModelProto:
    """A model whose values are subnormal from its input to its output."""
    w = np.linspace(-1, 1, 64 * 48, dtype=F32).reshape(64, 48)
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["m"]),
        helper.make_node("Relu", ["m"], ["r"]),
        helper.make_node("Mul", ["r", "half"], ["y"]),
        helper.make_node("ReduceMean", ["x"], ["z"], axes=[1]),
    ]
    constants = {"w": w, "half": np.array(0.5, F32)}
    return build(nodes, {"x": (F32, ["N", 64])}, ["y", "z"], constants)


def tiny_inputs() -> dict[str, Array]:
    return {"x": np.random.default_rng(5).standard_normal((600, 64), F32) * F32(1e-39)}


# Threads.


@pytest.mark.parametrize("name", [*SMALL, *PUBLISHED_MODELS])
def test_any_number_of_threads(name: str, examples: Examples) -> None:
    kernel = examples.kernel(name)
    inputs = inputs_for(kernel.inputs, seed=2)
    one = kernel.run(inputs, threads=1)
    for threads in (2, 4, 2, 3):
        assert same_bits(kernel.run(inputs, threads), one)


# Targets.


@needs_v4
@pytest.mark.parametrize(
    "name", [*SMALL, *(p for p in PUBLISHED_MODELS if p.values[0] != "yolox_det")]
)
def test_every_target(name: str, examples: Examples) -> None:
    narrow, wide = examples.kernel(name), examples.kernel(name, "x86-64-v4")
    assert (narrow.targets, wide.targets) == (("x86-64-v3",), ("x86-64-v4",))
    for seed in (3, 4):
        inputs = inputs_for(narrow.inputs, seed)
        assert same_bits(narrow.run(inputs), wide.run(inputs))


# Batches.


@pytest.mark.parametrize("name", ["resnet50_small", "mobilenet_v2_small", "bert_base_small"])
@pytest.mark.parametrize("target", ["x86-64-v3", pytest.param("x86-64-v4", marks=needs_v4)])
def test_a_row_alone_and_in_a_batch(name: str, target: str, examples: Examples) -> None:
    kernel = examples.kernel(name, target)
    batch = inputs_for(kernel.inputs, seed=6, N=8)
    together = kernel.run(batch)
    for row in range(8):
        alone = kernel.run({n: x[row : row + 1] for n, x in batch.items()})
        assert same_bits(alone, {n: y[row : row + 1] for n, y in together.items()})


def test_a_line_alone_and_in_a_batch(examples: Examples) -> None:
    kernel = aivmc.compile(examples.path("recognizer_small"), shapes={"x": ("N", 3, 48, "W")})
    batch = inputs_for(kernel.inputs, seed=7, N=8, W=120)
    together = kernel.run(batch)
    for row in (0, 3, 7):
        alone = kernel.run({"x": batch["x"][row : row + 1]})
        assert same_bits(alone, {n: y[row : row + 1] for n, y in together.items()})


def test_rows_do_not_see_their_neighbours(examples: Examples) -> None:
    kernel = examples.kernel("resnet50_small")
    batch = inputs_for(kernel.inputs, seed=8, N=3)["x"]
    before = kernel.run({"x": batch})["logits"][1]
    batch[0], batch[2] = np.nan, np.inf
    assert kernel.run({"x": batch})["logits"][1].tobytes() == before.tobytes()


# Shapes.


@pytest.mark.parametrize(
    ("name", "shapes"),
    [
        ("recognizer_small", {"x": (1, 3, 48, 72)}),
        ("recognizer_small", {"x": (1, 3, 48, 8)}),
        ("resnet50_small", {"x": (3, 3, 32, 32)}),
        (
            "bert_base_small",
            {n: (3, 16) for n in ("input_ids", "attention_mask", "token_type_ids")},
        ),
        (
            "gpt2_step_small",
            {f"past_{kind}_{i}": (1, 4, 9, 16) for kind in ("key", "value") for i in (0, 1)},
        ),
        pytest.param("ppocr_rec", {"x": (1, 3, 48, 168)}, marks=pytest.mark.models),
    ],
)
def test_symbolic_and_specialized_shapes(
    name: str, shapes: Mapping[str, tuple[int, ...]], examples: Examples
) -> None:
    fixed = aivmc.compile(examples.path(name), shapes=shapes)
    assert not fixed.signature.symbols
    inputs = inputs_for(fixed.inputs, seed=9)
    assert same_bits(fixed.run(inputs), examples.kernel(name).run(inputs))


# Hostile processes.


@pytest.mark.parametrize("mode", HOSTILE, ids=hex)
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", ["tiny numbers", *SMALL])
def test_a_hostile_floating_point_environment(
    name: str, threads: int, mode: int, examples: Examples, tmp_path: Path
) -> None:
    """Worker threads inherit the mode in which the kernel is loaded and first run."""
    if name == "tiny numbers":
        kernel, inputs = _tiny_kernel(), tiny_inputs()
    else:
        kernel = examples.kernel(name)
        inputs = inputs_for(kernel.inputs, seed=10)
    expected = kernel.run(inputs, threads=1)
    kernel.save(tmp_path / "k.aivm")
    with ENVIRONMENT.mode(mode):
        hostile = aivmc.load(tmp_path / "k.aivm")
        found = [hostile.run(inputs, threads) for _ in range(3)]
        left = ENVIRONMENT.control
    assert left == mode, "the caller's environment was not put back"
    assert all(same_bits(outputs, expected) for outputs in found)
    hostile.close()


@cache
def _tiny_kernel() -> aivmc.Kernel:
    return aivmc.compile(tiny_numbers())


def test_the_tiny_numbers_would_show_a_hostile_environment() -> None:
    """The check above has teeth: results are subnormal, and NumPy's change in every mode."""
    outputs = _tiny_kernel().run(tiny_inputs())
    assert same_bits(outputs, interpret(canonicalize(tiny_numbers())[0], tiny_inputs()))
    smallest = np.finfo(F32).smallest_normal
    assert all(0 < np.abs(y).max() < smallest for y in outputs.values())
    x = tiny_inputs()["x"]
    usual = (x * F32(0.3)).tobytes()
    for mode in HOSTILE:
        with ENVIRONMENT.mode(mode):
            assert (x * F32(0.3)).tobytes() != usual
    assert ENVIRONMENT.control == DEFAULT


def test_compiling_in_a_hostile_environment(examples: Examples) -> None:
    """Folding must not see it either."""
    expected = examples.kernel("resnet50_small").identity
    for mode in HOSTILE[1:3]:
        with ENVIRONMENT.mode(mode):
            found = aivmc.compile(examples.path("resnet50_small")).identity
            assert ENVIRONMENT.control == mode
        assert found == expected


# Layouts of inputs.


def _at_odd_address(x: Array) -> Array:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return raw[1:].view(x.dtype).reshape(x.shape)


def _at_odd_element(x: Array) -> Array:
    """Aligned to one element and no more."""
    raw = np.zeros(x.size + 65, x.dtype)
    start = -(raw.ctypes.data // x.itemsize) % 64 + 1
    raw[start : start + x.size] = x.ravel()
    return raw[start : start + x.size].reshape(x.shape)


LAYOUTS: dict[str, Callable[[Array], Any]] = {
    "column-major": np.asfortranarray,
    "strided": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
    "reversed": lambda x: x[..., ::-1].copy()[..., ::-1],
    "broadcast": lambda x: np.broadcast_to(x[np.newaxis], (2, *x.shape))[1],
    "big-endian": lambda x: x.astype(x.dtype.newbyteorder(">")),
    "odd address": _at_odd_address,
    "odd element": _at_odd_element,
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["resnet50_small", "bert_base_small", "gpt2_step_small"])
def test_any_layout_of_the_inputs(name: str, layout: str, examples: Examples) -> None:
    kernel = examples.kernel(name)
    inputs = inputs_for(kernel.inputs, seed=11)
    given = {n: LAYOUTS[layout](x) for n, x in inputs.items()}
    assert same_bits(kernel.run(given), kernel.run(inputs))


# NaN and infinity.


@cache
def passing_through() -> onnx.ModelProto:
    """A model that gives its input on, untouched, moved and with its sign bit changed."""
    nodes = [
        helper.make_node("Identity", ["x"], ["same"]),
        helper.make_node("Transpose", ["x"], ["moved"], perm=[1, 0]),
        helper.make_node("Neg", ["x"], ["negated"]),
        helper.make_node("Abs", ["x"], ["absolute"]),
        helper.make_node("Relu", ["x"], ["relu"]),
        helper.make_node("Where", ["c", "x", "x"], ["chosen"]),
    ]
    outputs = ["same", "moved", "negated", "absolute", "relu", "chosen"]
    return build(nodes, {"x": (F32, ["N", 3])}, outputs, {"c": np.array([True, False, True])})


def _nans(outputs: Mapping[str, Array]) -> set[int]:
    return {int(bits) for y in outputs.values() for bits in y[np.isnan(y)].view(np.uint32)}


def test_nan_has_one_form_in_outputs() -> None:
    bits = [0x7FC00000, 0xFFC00000, 0x7F800001, 0xFFABCDEF, 0x7FFFFFFF, 0x7F800000]
    x = np.array(bits, np.uint32).view(F32).reshape(2, 3)
    outputs = aivmc.compile(passing_through()).run({"x": x})
    assert _nans(outputs) == {CANONICAL_NAN}
    assert outputs["same"].view(np.uint32).ravel().tolist() == [CANONICAL_NAN] * 5 + [0x7F800000]
    assert outputs["negated"].ravel()[-1] == -np.inf


@pytest.mark.parametrize("name", [*SMALL, pytest.param("mlp", marks=pytest.mark.models)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_legal(name: str, value: float, examples: Examples) -> None:
    """They give the reference's bits, and it doesn't matter which NaN it was."""
    kernel = examples.kernel(name)
    inputs = inputs_for(kernel.inputs, seed=12)
    for x in inputs.values():
        if x.dtype == F32:
            x.ravel()[:: max(1, x.size // 5)] = value
    outputs = kernel.run(inputs)
    with np.errstate(all="ignore"):
        reference = interpret(canonicalize(examples.path(name))[0], inputs)
    assert same_bits(outputs, reference)
    assert _nans(outputs) <= {CANONICAL_NAN}
    other = {n: _with_other_nan(x) for n, x in inputs.items()}
    assert same_bits(kernel.run(other, threads=2), outputs)


def _with_other_nan(x: Array) -> Array:
    if x.dtype != F32:
        return x
    y = x.copy()
    y.view(np.uint32)[np.isnan(y)] = 0xFFAAAAAA
    return y
