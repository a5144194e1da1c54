"""Random ops: what they draw, against the docs on plain integers, and from which streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import helper

from aivmc.compiler import canonicalize
from aivmc.ir.constants import Array
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError, UnsupportedError
from aivmc.ir.interpret import interpret
from aivmc.ir.seeds import named_stream
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.passes.assign_streams import AssignStreams
from aivmc.passes.identity import semantic_digest
from tests.onnx_models import build
from tests.philox import words

SEED = bytes(range(100, 132))
F32 = np.float32
FLOAT, DOUBLE, HALF, BF16 = 1, 11, 10, 16
node = helper.make_node


def canonical(model: onnx.ModelProto, policy: str = "input") -> Module:
    return canonicalize(model, policy=SeedPolicy.of(policy, None))[0]


def draw(
    nodes: Sequence[Any],
    outputs: Sequence[str] = ("y",),
    constants: dict[str, Array] | None = None,
    **inputs: Array,
) -> tuple[Array, ...]:
    """The outputs under SEED; every input has a first dim N."""
    types = {n: (a.dtype, ["N", *a.shape[1:]]) for n, a in inputs.items()}
    module = canonical(build(nodes, types, outputs, constants, opset=15))
    return tuple(interpret(module, inputs, seed=SEED).values())


def units(stream: int, count: int, draws: int = 1, first: int = 0) -> Array:
    """Uniform numbers in [0, 1), one for each element, exact in f32."""
    drawn = words(SEED, stream, count * draws)[first::draws]
    return np.array([w >> 8 for w in drawn], np.float64) * 2.0**-24


def x_of(*shape: int, dtype: Any = F32) -> Array:
    return np.random.default_rng(4).standard_normal(shape).astype(dtype)


# What is drawn.


def test_uniform_is_24_bits() -> None:
    (y,) = draw([node("RandomUniform", [], ["y"], shape=[7, 9])])
    assert y.dtype == F32
    assert (y.ravel() == units(0, 63)).all()
    assert (y * 2.0**24 == np.rint(y * 2.0**24)).all()


def test_uniform_with_bounds() -> None:
    (y,) = draw([node("RandomUniform", [], ["y"], shape=[50], low=-1.5, high=2.7)])
    scale = F32(float(F32(2.7)) + 1.5)
    assert y.tobytes() == (units(0, 50).astype(F32) * scale + F32(-1.5)).tobytes()


def test_uniform_of_f64_is_53_bits() -> None:
    (y,) = draw([node("RandomUniform", [], ["y"], shape=[50], dtype=DOUBLE)])
    drawn = words(SEED, 0, 100)
    expected = [((a << 32 | b) >> 11) * 2.0**-53 for a, b in zip(drawn[::2], drawn[1::2])]
    assert y.tolist() == expected


@pytest.mark.parametrize(("code", "dtype"), [(HALF, np.float16), (BF16, ml_dtypes.bfloat16)])
def test_narrow_uniforms_are_rounded_once(code: int, dtype: Any) -> None:
    (y,) = draw([node("RandomUniform", [], ["y"], shape=[500], dtype=code)])
    assert y.tobytes() == units(0, 500).astype(F32).astype(dtype).tobytes()


def box_muller(stream: int, count: int) -> Array:
    """f32, each function correctly rounded from f64 (what is drawn here is nowhere near a tie)."""
    u, v = (units(stream, count, 2, i).astype(F32) for i in range(2))
    logarithm = np.log((F32(1) - u).astype(np.float64)).astype(F32)
    cosine = np.cos((v * F32(2 * np.pi)).astype(np.float64)).astype(F32)
    normal: Array = np.sqrt(logarithm * F32(-2)) * cosine
    return normal


def test_normal() -> None:
    (y,) = draw([node("RandomNormal", [], ["y"], shape=[40, 50], mean=0.5, scale=3.0)])
    expected = box_muller(0, 2000).reshape(40, 50) * F32(3) + F32(0.5)
    assert y.tobytes() == expected.tobytes()
    (y,) = draw([node("RandomNormal", [], ["y"], shape=[60], dtype=DOUBLE, scale=0.1)])
    assert y.tobytes() == (box_muller(0, 60).astype(np.float64) * float(F32(0.1)) + 0).tobytes()


def test_normal_of_extreme_draws_is_finite() -> None:
    """u is at most 1 - 2^-24, so its logarithm is that of no less than 2^-24."""
    assert np.sqrt(-2 * np.log(2.0**-24)) < 5.8
    (y,) = draw([node("RandomNormal", [], ["y"], shape=[1 << 16])])
    assert np.isfinite(y).all() and np.abs(y).max() < 5.8


def test_like() -> None:
    x = x_of(6, 7)
    for kind in ("Uniform", "Normal"):
        same = draw([node(f"Random{kind}", [], ["y"], shape=[6, 7])])
        (like,) = draw([node(f"Random{kind}Like", ["x"], ["y"])], x=x)
        assert like.tobytes() == same[0].tobytes()
        (half,) = draw([node(f"Random{kind}Like", ["x"], ["y"])], x=x.astype(np.float16))
        assert half.tobytes() == like.astype(np.float16).tobytes()


@pytest.mark.parametrize("dtype", [F32, np.float16, np.float64])
def test_bernoulli(dtype: Any) -> None:
    p = np.linspace(0, 1, 200).reshape(20, 10).astype(dtype)
    p[0, :4] = 0, 1, np.nan, 2.0**-24
    (y,) = draw([node("Bernoulli", ["p"], ["y"], dtype=6)], p=p)
    expected = units(0, 200).reshape(20, 10) < p.astype(np.float64)
    assert y.dtype == np.int32
    assert (y == expected).all()
    (same,) = draw([node("Bernoulli", ["p"], ["y"])], p=p)
    assert same.dtype == dtype and (same == expected).all()


@pytest.mark.parametrize("dtype", [F32, np.float16, np.float64])
def test_dropout(dtype: Any) -> None:
    x = x_of(30, 10, dtype=dtype)
    x[0, :5] = np.nan, np.inf, -0.0, 65000, -1e-7
    constants = {"r": np.array(0.3, F32), "t": np.array(True)}
    y, mask = draw([node("Dropout", ["x", "r", "t"], ["y", "m"])], "ym", constants, x=x)
    wide: Any = np.float64 if dtype is np.float64 else F32
    kept = units(0, 300).reshape(30, 10) >= F32(0.3)
    scale = wide(1) / (wide(1) - wide(F32(0.3)))
    with np.errstate(over="ignore"):
        expected = np.where(kept, (x.astype(wide) * scale).astype(dtype), dtype(0))
    assert (mask == kept).all() and 0.6 < mask.mean() < 0.8
    np.testing.assert_array_equal(y, expected)
    assert (np.signbit(y) == np.signbit(expected))[~np.isnan(y)].all()


@pytest.mark.parametrize(("ratio", "share"), [(0.0, 1.0), (1.0, 0.0), (None, 0.5)])
def test_dropout_ratios(ratio: float | None, share: float) -> None:
    x = x_of(100, 10)
    constants = {"t": np.array(True)}
    if ratio is not None:
        constants["r"] = np.array(ratio, F32)
    names = ["x", "" if ratio is None else "r", "t"]
    y, mask = draw([node("Dropout", names, ["y", "m"])], "ym", constants, x=x)
    assert abs(mask.mean() - share) < 0.06
    assert (y[~mask] == 0).all()
    assert y[mask].tobytes() == (x * F32(1 / max(share, 0.5)))[mask].tobytes()


def test_dropout_with_a_ratio_that_is_an_input() -> None:
    x, ratio = x_of(20, 10), np.array([0.25], F32)
    nodes = [
        node("Squeeze", ["r"], ["s"]),
        node("Dropout", ["x", "s", "t"], ["y", "m"]),
    ]
    types = {"x": (F32, [20, 10]), "r": (F32, [1])}
    module = canonical(build(nodes, types, "ym", {"t": np.array(True)}, opset=15))
    _, mask = interpret(module, {"x": x, "r": ratio}, seed=SEED).values()
    assert (mask.ravel() == (units(0, 200) >= 0.25)).all()


def test_multinomial() -> None:
    x = x_of(5, 11) * F32(3)
    x[0], x[1, 0], x[2, -1], x[3, 1:] = -np.inf, -np.inf, -np.inf, -np.inf
    (y,) = draw([node("Multinomial", ["x"], ["y"], sample_size=40, dtype=7)], x=x)
    assert y.dtype == np.int64 and y.shape == (5, 40)
    u = units(0, 200).reshape(5, 40).astype(F32)
    for i in range(1, 5):
        weights = np.exp((x[i] - x[i].max()).astype(np.float64)).astype(F32)
        sums, total = [], F32(0)
        for weight in weights:
            total = F32(total + weight)
            sums.append(total)
        assert y[i].tolist() == [sum(s <= t * total for s in sums) for t in u[i]]
    assert (y[0] == 0).all() and (y[1] > 0).all() and (y[2] < 10).all() and (y[3] == 0).all()


def test_multinomial_shares() -> None:
    shares = np.array([[0.1, 0.2, 0.3, 0.4]], F32)
    (y,) = draw([node("Multinomial", ["x"], ["y"], sample_size=20_000)], x=np.log(shares))
    assert y.dtype == np.int32
    np.testing.assert_allclose(np.bincount(y[0]) / 20_000, shares[0], atol=0.012)


def test_moments() -> None:
    """Within five standard errors."""
    n = 1 << 16
    nodes = [
        node("RandomUniform", [], ["u"], shape=[n]),
        node("RandomNormal", [], ["z"], shape=[n]),
    ]
    u, z = (y.astype(np.float64) for y in draw(nodes, "uz"))
    error = 5 / np.sqrt(n)
    assert abs(u.mean() - 1 / 2) < error * np.sqrt(1 / 12)
    assert abs(u.var() - 1 / 12) < error * np.sqrt(1 / 180)
    assert abs(z.mean()) < error
    assert abs(z.var() - 1) < error * np.sqrt(2)
    assert abs((z**3).mean()) < error * np.sqrt(15)
    assert abs((z**4).mean() - 3) < error * np.sqrt(96)
    for sample in (u, z):
        centred = (sample - sample.mean()) / sample.std()
        for lag in (1, 2, 3, 4):
            assert abs((centred[lag:] * centred[:-lag]).mean()) < error
    assert abs(np.corrcoef(u, z)[0, 1]) < error
    counts = np.histogram(u, 64, (0, 1))[0]
    assert ((counts - n / 64) ** 2 / (n / 64)).sum() < 63 + 5 * np.sqrt(2 * 63)


# Streams.


def two(first: Sequence[Any] = (), last: Sequence[Any] = (), **inputs: Any) -> onnx.ModelProto:
    """y = noise + x, z = mask of x, with other nodes before and after."""
    nodes = [
        *first,
        node("RandomNormalLike", ["x"], ["n"], name="noise"),
        node("Add", ["n", "x"], ["y"]),
        node("Sigmoid", ["x"], ["p"]),
        node("Bernoulli", ["p"], ["z"], name="mask"),
        *last,
    ]
    outputs = ["y", "z", *(("w",) if any("w" in n.output for n in nodes) else ())]
    return build(nodes, {"x": (F32, ["N", 5]), **inputs}, outputs, opset=15)


def results(model: onnx.ModelProto, x: Array | None = None) -> list[bytes]:
    """Bytes of y and z."""
    inputs = {"x": x_of(4, 5) if x is None else x}
    inputs |= {v.name: inputs["x"] for v in model.graph.input}
    outputs = interpret(canonical(model), inputs, seed=SEED)
    return [outputs[name].tobytes() for name in ("y", "z")]


def shuffled() -> onnx.ModelProto:
    model = two()
    nodes = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    return model


def renamed() -> onnx.ModelProto:
    model = two()
    for i, n in enumerate(model.graph.node):
        n.name = f"other{i}"
    return model


def rewritten() -> onnx.ModelProto:
    """The sum through an identity, a dropout that is off, and operands the other way round."""
    nodes = [
        node("RandomNormalLike", ["x"], ["n"]),
        node("Identity", ["n"], ["n1"]),
        node("Dropout", ["n1"], ["n2"]),
        node("Add", ["x", "n2"], ["y"]),
        node("Sigmoid", ["x"], ["p"]),
        node("Bernoulli", ["p"], ["z"]),
    ]
    return build(nodes, {"x": (F32, [4, 5])}, ["y", "z"], opset=15)


UNRELATED = {
    "nodes before": two([node("Relu", ["x"], ["r"]), node("Exp", ["r"], ["w"])]),
    "nodes after": two(last=[node("Mul", ["y", "z"], ["w"])]),
    "a random op after": two(last=[node("RandomUniformLike", ["y"], ["w"])]),
    "a dead random op": two([node("RandomUniformLike", ["x"], ["dead"])]),
    "a shape of a random op": two(
        [node("RandomUniformLike", ["x"], ["r"]), node("Shape", ["r"], ["w"])]
    ),
    "a named stream before": two([node("RandomUniformLike", ["x"], ["w"], seed=2.0)]),
    "an input more": two(q=(F32, ["N", 5])),
    "other names": renamed(),
    "nodes in another order": shuffled(),
    "another form": rewritten(),
}


@pytest.mark.parametrize("edit", UNRELATED)
def test_unrelated_edits_move_no_stream(edit: str) -> None:
    assert results(UNRELATED[edit]) == results(two())


def test_an_element_does_not_see_the_batch() -> None:
    x = x_of(9, 5)
    whole, part = results(two(), x), results(two(), x[:4])
    for all_rows, some_rows in zip(whole, part):
        assert all_rows[: len(some_rows)] == some_rows


def test_equal_nodes_draw_other_numbers_unless_they_name_one_seed() -> None:
    names = "abcd"
    seeds: list[dict[str, Any]] = [{}, {}, {"seed": 3.0}, {"seed": 3.0}]
    nodes = [node("RandomNormal", [], [o], shape=[20], **s) for o, s in zip(names, seeds)]
    drawn = draw(nodes, names)
    assert len({y.tobytes() for y in drawn}) == 3
    assert drawn[2].tobytes() == drawn[3].tobytes() == box_muller(named_stream(3.0), 20).tobytes()


def test_a_named_stream_of_dropout() -> None:
    x = x_of(20, 10)
    constants = {"t": np.array(True)}
    _, mask = draw([node("Dropout", ["x", "", "t"], ["y", "m"], seed=9)], "ym", constants, x=x)
    assert (mask.ravel() == (units(named_stream(9), 200) >= 0.5)).all()


def test_a_fixed_seed_is_part_of_what_a_program_means() -> None:
    model = two()
    programs = [canonicalize(model, policy=SeedPolicy.of("fixed", s))[0] for s in (0, 1)]
    programs.append(canonical(model))
    assert len({semantic_digest(p) for p in programs}) == 3
    x = x_of(4, 5)
    fixed, other = (interpret(p, {"x": x})["z"].tobytes() for p in programs[:2])
    assert fixed != other
    assert fixed == interpret(programs[2], {"x": x}, seed=bytes(32))["z"].tobytes()
    one = (1).to_bytes(32, "big")
    assert other == interpret(programs[2], {"x": x}, seed=one)["z"].tobytes()
    assert [op.name for op in programs[0].walk() if op.name == "det.stream_key"] == []


@pytest.mark.parametrize("seed", ["1", "zz" * 32, "00" * 31, "0" * 65])
def test_seeds_that_are_not_good(seed: str) -> None:
    module = canonical(two())
    with pytest.raises(AivmcError, match="a seed is 64 hex digits, or none"):
        AssignStreams(seed).run(module)


# What is refused.


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (node("RandomUniform", [], ["y"], shape=[2], dtype=6), "a float of 16 bits or more"),
        (node("RandomNormalLike", ["i"], ["y"]), "a float of 16 bits or more is needed, not i64"),
        (node("Bernoulli", ["i"], ["y"]), "a float of 16 bits or more is needed, not i64"),
        (node("Multinomial", ["x"], ["y"], dtype=1), "the dtype must be int32 or int64"),
        (node("Multinomial", ["i"], ["y"]), "a matrix is needed"),
        (node("Dropout", ["x", "", "b"], ["y"]), "training_mode must be a constant scalar"),
    ],
)
def test_refusals(made: Any, reason: str) -> None:
    inputs = {"x": (F32, [2, 3]), "i": (np.int64, [2]), "b": (np.bool_, [])}
    with pytest.raises(UnsupportedError, match=reason):
        canonical(build([made], inputs, ["y"], opset=15))
