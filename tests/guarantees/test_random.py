"""Kernels that draw: the same seed gives the same bits on every target, by the reference semantics,
with any number of threads and in any batch. Another seed gives others. Each policy has its rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

import aivmc
from aivmc.backends.cpu.targets import resolve
from aivmc.compiler import canonicalize
from aivmc.ir.binding import InputError
from aivmc.ir.constants import Array
from aivmc.ir.errors import AivmcError
from aivmc.ir.interpret import interpret
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.runtime.environment import missing_features
from aivmc.runtime.kernel import Kernel, open_target
from tests.guarantees.examples_kit import same_bits
from tests.onnx_models import build

SEED = bytes(range(32))
TARGETS = [
    pytest.param(
        name,
        marks=pytest.mark.skipif(
            bool(missing_features(resolve(name).requires)), reason="this node can't run it"
        ),
    )
    for name in ("x86-64-v3", "x86-64-v4")
]
node = helper.make_node


@cache
def sampler() -> onnx.ModelProto:
    """Every random op and dtype, on symbolic and on fixed shapes, beside and inside other ops."""
    nodes = [
        node("RandomUniformLike", ["x"], ["uniform"], low=-1.0, high=3.0),
        node("RandomNormalLike", ["x"], ["normal"], mean=1.0, scale=2.0),
        node("RandomUniformLike", ["x"], ["uniform64"], dtype=11),
        node("RandomNormalLike", ["x"], ["normal64"], dtype=11, seed=3.0),
        node("RandomNormalLike", ["x"], ["half"], dtype=10),
        node("RandomUniformLike", ["x"], ["bfloat"], dtype=16),
        node("RandomUniform", [], ["row"], shape=[37]),
        node("RandomNormalLike", ["ratio"], ["scalar"]),
        node("Sigmoid", ["x"], ["p"]),
        node("Bernoulli", ["p"], ["coin"], dtype=9),
        node("Dropout", ["x", "ratio", "on"], ["dropped", "mask"]),
        node("Multinomial", ["x"], ["choice"], sample_size=5),
        node("Mul", ["normal", "row"], ["scaled"]),
        node("Add", ["scaled", "scalar"], ["shifted"]),
        node("MatMul", ["shifted", "w"], ["product"]),
        node("RandomNormalLike", ["product"], ["noise"], scale=0.01),
        node("Add", ["product", "noise"], ["noisy"]),
    ]
    outputs = (
        *("uniform", "normal", "uniform64", "normal64", "half", "bfloat", "row", "scalar"),
        *("coin", "dropped", "mask", "choice", "noisy"),
    )
    constants = {
        "ratio": np.array(0.3, np.float32),
        "on": np.array(True),
        "w": np.linspace(-1, 1, 37 * 3, dtype=np.float32).reshape(37, 3),
    }
    return build(nodes, {"x": (np.float32, ["N", 37])}, outputs, constants, opset=15)


@cache
def kernel(policy: str = "input", seed: int | None = None) -> Kernel:
    targets = ["x86-64-v3", "x86-64-v4"] if policy == "input" else "cpu"
    return aivmc.compile(sampler(), targets, seed=seed, seed_policy=policy)


@cache
def reference(policy: str, rows: int, seed: bytes | None) -> Mapping[str, Array]:
    module, _ = canonicalize(sampler(), policy=SeedPolicy.of(policy, None))
    return interpret(module, inputs(rows), seed=seed)


def inputs(rows: int) -> dict[str, Array]:
    return {"x": np.random.default_rng(8).standard_normal((500, 37)).astype(np.float32)[:rows]}


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_and_number_of_threads(target: str) -> None:
    _, executor = open_target(kernel().file, target)
    for rows in (1, 7, 50):
        for threads in (1, 2, 3):
            got = executor.run(inputs(rows), threads, SEED)
            assert same_bits(got, reference("input", rows, SEED)), (rows, threads)
    executor.close()


def test_a_fixed_seed() -> None:
    got = kernel("fixed").run(inputs(50))
    assert same_bits(got, reference("fixed", 50, None))
    assert same_bits(got, kernel().run(inputs(50), seed=bytes(32)))


@pytest.mark.parametrize("rows", [1, 3, 16, 49])
def test_an_element_does_not_see_the_batch(rows: int) -> None:
    whole, part = (kernel().run(inputs(n), seed=SEED) for n in (50, rows))
    for name, array in part.items():
        shared = whole[name] if name in ("row", "scalar") else whole[name][:rows]
        assert shared.tobytes() == array.tobytes(), name


def test_other_seeds_draw_other_numbers() -> None:
    seeds = [bytes(32), SEED, SEED[::-1], bytes(31) + b"\1"]
    drawn = [kernel().run(inputs(50), seed=s) for s in seeds]
    for name in drawn[0]:
        assert len({outputs[name].tobytes() for outputs in drawn}) == len(seeds), name
    again = kernel().run(inputs(50), seed=seeds[1])
    assert same_bits(drawn[1], again)


def test_vrf_code_draws_as_that_of_input() -> None:
    vrf = kernel("vrf")
    assert vrf.seed_policy == "vrf"
    assert vrf.identity != kernel().identity
    assert same_bits(vrf.executor.run(inputs(7), seed=SEED), kernel().run(inputs(7), seed=SEED))


def test_the_manifest_names_the_policy() -> None:
    configs = {p: kernel(p).file.manifest.config["seed"] for p in ("fixed", "input", "vrf")}
    assert configs == {
        "fixed": {"policy": "fixed", "value": "0"},
        "input": {"policy": "input"},
        "vrf": {"policy": "vrf"},
    }


@pytest.mark.parametrize(
    ("policy", "seed", "message"),
    [
        ("input", None, r"takes a seed with each request \(its seed policy is input\)"),
        ("vrf", None, r"only with a proof of its randomness \(its seed policy is vrf\)"),
        ("vrf", SEED, "policy is vrf, and a seed is given: it draws from a proof only"),
        ("input", b"short", "a seed is 32 bytes, not 5"),
        ("input", bytes(33), "a seed is 32 bytes, not 33"),
        ("input", 7, "a seed is 32 bytes, not of type int"),
        ("fixed", SEED, "the kernel's seed is fixed, and one is given"),
    ],
)
def test_seeds_that_do_not_fit(policy: str, seed: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        kernel(policy).run(inputs(1), seed=seed)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed_policy": "random"}, "no seed policy 'random'; there are fixed, input, vrf"),
        ({"seed_policy": "input", "seed": 3}, "the seed comes with each request"),
        ({"seed": -1}, "a seed is 0 to 2"),
        ({"seed": 1 << 256}, "a seed is 0 to 2"),
    ],
)
def test_policies_that_are_not_good(options: dict[str, Any], message: str) -> None:
    with pytest.raises(AivmcError, match=message):
        aivmc.compile(sampler(), **options)
