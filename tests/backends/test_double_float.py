"""Functions in pairs of f32: what they decide is right; with them GPU code has the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest

from aivmc.backends.build import build_artifact
from aivmc.backends.double_float import arithmetic, functions, generate_coefficients
from aivmc.backends.double_float.functions import FUNCTIONS
from aivmc.ir.core import Module
from aivmc.ir.dims import symbol
from aivmc.ir.elementary import ELEMENTARY
from aivmc.ir.emit import Emit
from aivmc.ir.interpret import interpret
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.types import DType, TensorType
from aivmc.ptx.device import Device
from tests.backends.op_harness import Array, assert_same, executor, program
from tests.backends.test_cuda import softmax_like
from tests.ir.exact_functions import EXACT

E: Emit = NumpyEmit()
HARD_CASES = Path(__file__).parents[1] / "data" / "hard_cases"
SLOW = "cuda:slow-f64"
NAMES = list(FUNCTIONS)


@cache
def hard_cases(name: str) -> tuple[Array, Array]:
    """Inputs, of both signs, and the correctly rounded results, as bits."""
    with np.load(HARD_CASES / f"{name}.npz") as data:
        return data["inputs"].view(np.float32), data["results"]


@cache
def special() -> Array:
    """Special values, bounds of the functions' cases and their neighbours, of both signs, NaNs."""
    bounds = [87.3, 88, 88.72283, 104, 109, 10, 10.8, 25, 126, 128, 150, 2.0**-12, 2.0**-25]
    numbers = [0, 1, 2.0**-60, 2.0**-126, 2.0**-149, 2.0**127, *bounds]
    x = np.array(numbers, np.float32).view(np.uint32)
    near = np.concatenate(
        [x, x + 1, x[x > 0] - 1, [0x7F800000, 0x7FC00000, 0x7F800001, 0x7FFFFFFF]]
    )
    return np.concatenate([near, near | 0x80000000]).astype(np.uint32).view(np.float32)


@cache
def sample() -> Array:
    """All exponents, and numbers of activations."""
    rng = np.random.default_rng(4)
    anywhere = rng.integers(0, 2**32, 20000, dtype=np.uint32).view(np.float32)
    return np.concatenate([anywhere, (rng.standard_normal(20000) * 8).astype(np.float32)])


def wrong(name: str, x: Array, want: Array) -> int:
    """How many results are decided that are not ``want``, both as bits."""
    with np.errstate(all="ignore"):
        result, decided = FUNCTIONS[name](E, x)
    return int(np.sum(decided & (result.view(np.uint32) != want)))


def by_definition(name: str, x: Array) -> Array:
    with np.errstate(all="ignore"):
        return ELEMENTARY[name, DType.F32](E, x).view(np.uint32)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_decided_is_right(name: str) -> None:
    assert wrong(name, *hard_cases(name)) == 0
    for x in (special(), sample()):
        assert wrong(name, x, by_definition(name, x)) == 0


@pytest.mark.parametrize("name", NAMES)
def test_few_results_are_not_decided(name: str) -> None:
    """Of what activations and softmax are given; zeros and masked scores among it."""
    normal = np.random.default_rng(5).standard_normal(100_000).astype(np.float32) * 2
    with np.errstate(all="ignore"):
        undecided = 1 - FUNCTIONS[name](E, normal)[1].mean()
        zeros = FUNCTIONS[name](E, np.array([0.0, -0.0], np.float32))[1]
        masked = FUNCTIONS[name](E, np.array([-np.inf, -1e9, -1e38], np.float32))[1]
    assert undecided < 1e-3
    assert zeros.all() and masked.all()


BOUNDS = {name: "EXP_ERROR" for name in NAMES} | {
    **dict.fromkeys(("expm1", "tanh"), "EXPM1_ERROR"),
    "gelu_tanh": "GELU_ERROR",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_rounding_test_that_is_too_narrow_is_noticed(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functions, BOUNDS[name], 2.0**-49)
    assert wrong(name, *hard_cases(name)) > 0


@pytest.mark.parametrize("name", NAMES)
def test_errors_are_within_their_bounds(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the computed pairs, each of which is the result or that over a power of two, where they
    are largest: |r| near log(2)/2, arguments of some size."""
    pairs: list[tuple[Array, Array]] = []

    def recording(e: Emit, x: Any, error: float) -> Any:
        pairs.append(x)
        return arithmetic.rounded(e, x, error)

    monkeypatch.setattr(functions, "rounded", recording)
    most = 14 if name == "tanh" else 30
    halves = (np.arange(-most, most) + 0.5) * (1 if name == "exp2" else np.log(2))
    x = np.random.default_rng(6).choice(halves, 1000) * (1 + 2e-3 * np.linspace(-1, 1, 1000))
    x = (x / {"tanh": 2, "gelu_tanh": 2.2}.get(name, 1)).astype(np.float32)
    FUNCTIONS[name](E, x)
    ((high, low),) = pairs
    worst = 0.0
    for at, *parts in zip(*(a.astype(float).tolist() for a in (x, high, low))):
        ratio = abs(mpmath.fsum(parts) / EXACT[name](mpmath.mpf(at)))
        power = mpmath.nint(mpmath.log(ratio, 2))
        worst = max(worst, float(abs(mpmath.ldexp(ratio, -int(power)) - 1)))
    bound = getattr(functions, BOUNDS[name])
    assert bound / 32 < worst < bound - 2.0**-48


def test_coefficients_are_what_the_generator_makes() -> None:
    path = Path(generate_coefficients.__file__).with_name("coefficients.py")
    assert path.read_text(encoding="utf-8") == generate_coefficients.render()


# In PTX


def of_functions(names: list[str], dtype: DType = DType.F32) -> Module:
    """Each of the functions of an input of its own."""
    types = {name: TensorType(dtype, (symbol(f"N{i}"),)) for i, name in enumerate(names)}
    return program(types, lambda b, *xs: [b.op(f"det.{n}", x) for n, x in zip(names, xs)])


def on_gpu(module: Module, inputs: Mapping[str, Array], device: Device) -> list[Array]:
    kernel = executor(module, SLOW, device)
    outputs = kernel.run(inputs)
    kernel.close()
    return list(outputs.values())


@pytest.mark.parametrize(("order", "canonical_nan"), [(0, True), (1, False)])
def test_gpu_code_gives_the_definitions_bits(order: int, canonical_nan: bool) -> None:
    """On all hard cases, special values and a sample, in two orders of threads."""
    inputs = {n: np.concatenate([hard_cases(n)[0], special(), sample()]) for n in NAMES}
    others = np.concatenate([special(), sample()])
    device = Device(order, canonical_nan)
    for name, got in zip(NAMES, on_gpu(of_functions(NAMES), inputs, device), strict=True):
        want = np.concatenate([hard_cases(name)[1], by_definition(name, others)])
        at = np.flatnonzero(got.view(np.uint32) != want)
        assert [(name, inputs[name][i], got[i]) for i in at[:5]] == []


def test_gpu_code_with_a_rounding_test_that_is_too_narrow_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for bound in set(BOUNDS.values()):
        monkeypatch.setattr(functions, bound, 2.0**-49)
    inputs = {n: hard_cases(n)[0] for n in NAMES}
    for name, got in zip(NAMES, on_gpu(of_functions(NAMES), inputs, Device()), strict=True):
        assert np.any(got.view(np.uint32) != hard_cases(name)[1]), name


def counts(module: Module, target: str) -> tuple[dict[str, int], dict[str, int]]:
    """Of f32 and f64 instructions, by opcode."""
    counts = build_artifact(module, target).audit["ptx"]
    f64 = {op: n for op, n in counts.items() if "f64" in op}
    return {op: n for op, n in counts.items() if ".f32" in op and op not in f64}, f64


@pytest.mark.parametrize("name", NAMES)
def test_instructions(name: str) -> None:
    """Some hundred of f32, one division at most; those of f64, the same as without, in a branch."""
    f32, f64 = counts(of_functions([name]), SLOW)
    plain = counts(of_functions([name]), "cuda")[1]
    assert sum(f32.values()) < 135 and f32.get("div.rn.f32", 0) <= 1
    assert 0 < sum(f64.values()) <= sum(plain.values())


def test_softmax_and_narrow_floats() -> None:
    """Where elements are computed in vectors, and where they come from f16."""
    x = np.concatenate([special(), sample()[: 40 * 128 - len(special())]]).reshape(128, 40)
    narrow = np.arange(2**16, dtype=np.uint16).view(np.float16)
    for module, inputs in (
        (softmax_like(), {"x": x}),
        (of_functions(["exp", "tanh"], DType.F16), {"exp": narrow, "tanh": narrow}),
    ):
        kernel = executor(module, SLOW, Device(order=2))
        assert_same(kernel.run(inputs), interpret(module, inputs), SLOW)
        kernel.close()


def test_other_functions_and_dtypes_are_as_they_were() -> None:
    for module in (of_functions(["log", "sin", "softplus"]), of_functions(["exp"], DType.F64)):
        slow, plain = (build_artifact(module, target) for target in (SLOW, "cuda"))
        assert slow.code == plain.code
