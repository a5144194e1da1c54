"""Traces say what every node computes, and a lie in one is found, wherever it is."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from onnx import helper

import aivmc
from aivmc.ir.constants import Array
from aivmc.ir.core import Op
from aivmc.ir.float_environment import default_float_environment
from aivmc.ir.interpret import interpret
from aivmc.ir.types import DType
from aivmc.kernel_file.program import canonical_program
from aivmc.kernel_file.reader import KernelFile
from aivmc.protocol.dispute import check_comparable, first_difference
from aivmc.protocol.execution import Session
from aivmc.protocol.receipt import Receipt, read_receipt, write_receipt
from aivmc.protocol.trace import Trace, Tracer, leaf_digest, parse_trace, read_trace
from aivmc.referee import Case, Operand
from aivmc.runtime.environment import missing_features
from aivmc.runtime.kernel import Kernel
from aivmc.runtime.native import Parts
from aivmc.runtime.selftest import choose_sizes, make_inputs
from aivmc.trust.documents import canonical
from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.keys import PrivateKey
from tests.guarantees.examples_kit import Examples, same_bits
from tests.onnx_models import build
from tests.protocol.test_execution import X, proof, request
from tests.protocol.test_execution import kernel as sampler_kernel
from tests.small_model import small_model
from tests.trust.test_ecvrf import flipped

KEY = PrivateKey(bytes(32))
MODELS = (
    *("resnet50_small", "gpt2_step_small"),
    *(pytest.param(n, marks=pytest.mark.slow) for n in ("bert_base_small", "recognizer_small")),
)
TARGETS = ["x86-64-v3", "x86-64-v4"]

Outputs = Mapping[str, Array]


@cache
def compiled(name: str, examples: Examples) -> Kernel:
    model = small_model() if name == "perceptron" else examples.path(name)
    return aivmc.compile(model, TARGETS)


def inputs_of(kernel: Kernel) -> dict[str, Array]:
    return make_inputs(kernel.signature, choose_sizes(kernel.signature))


def traced(kernel: Kernel, inputs: Mapping[str, Array], target: str = TARGETS[0]) -> Trace:
    trace = Session(kernel.file, target).execute(inputs, traced=True).trace
    assert trace is not None
    return trace


class Liar(Tracer):
    """A node whose hardware changes one bit of one value, and goes on from there."""

    def __init__(self, leaf: int) -> None:
        super().__init__()
        self.before = leaf  # leaves before the lie

    def divide(self, results: Sequence[Sequence[Array]], kept: dict[int, Any]) -> Parts:
        counts, honest = super().divide(results, kept)
        leaves = [array for arrays in results for array in arrays]
        first = list(accumulate(map(len, results), initial=0))

        def lie(step: int, begin: int, end: int) -> None:
            if first[step] <= self.before < first[step + 1] and begin == 0:
                leaves[self.before].reshape(-1).view(np.uint8)[-1] ^= 1
            honest(step, begin, end)

        return counts, lie


def lying_run(session: Session, inputs: Mapping[str, Array], leaf: int) -> tuple[Liar, Outputs]:
    liar = Liar(leaf)  # who writes to what others read: on one thread
    return liar, session.kernel.executor.run(inputs, 1, None, liar)


def lie(kernel: Kernel, inputs: Mapping[str, Array], honest: Trace, leaf: int) -> Trace:
    liar, _ = lying_run(Session(kernel.file, TARGETS[0]), inputs, leaf)
    return replace(honest, digests=liar.digests)


def values_of(
    file: KernelFile, inputs: Mapping[str, Array], seed: bytes | None = None
) -> list[Array]:
    """Every traced value, as this node computes it."""
    values: list[Array] = []

    def observe(_: int, results: Sequence[Array]) -> None:
        values.extend(array.copy() for array in results)

    Session(file, TARGETS[0]).kernel.executor.run(inputs, 1, seed, observe)
    return values


def operands(case: Case, values: Sequence[Array], *traces: Trace) -> list[Operand]:
    return [Operand(n, values[n], [t.tree.proof(n) for t in traces]) for n in case.needed]


@pytest.mark.parametrize("name", MODELS)
def test_a_trace_is_one_on_every_target_and_number_of_threads(
    name: str, examples: Examples
) -> None:
    kernel = compiled(name, examples)
    inputs = inputs_of(kernel)
    expected = traced(kernel, inputs)
    assert len(expected.digests) > 5
    for target in TARGETS:
        if missing_features(kernel.file.manifest.targets[target].requires):
            continue
        session = Session(kernel.file, target)
        plain = session.execute(inputs).arrays
        for threads in (1, 2):
            done = session.execute(inputs, threads, traced=True)
            assert same_bits(done.arrays, plain)
            assert done.trace is not None
            assert (done.trace.root, done.trace.program) == (expected.root, expected.program)


@pytest.mark.parametrize("name", MODELS)
def test_every_traced_value_is_that_of_the_reference_semantics(
    name: str, examples: Examples
) -> None:
    kernel = compiled(name, examples)
    inputs = inputs_of(kernel)
    trace = traced(kernel, inputs)
    values = values_of(kernel.file, inputs)
    for leaf, digest in enumerate(trace.digests):
        case = Case(kernel.file, trace.target, inputs, None, leaf)
        assert case.leaves == len(trace.digests)
        assert case.judge([trace.root], operands(case, values, trace)) == digest, case.description


@pytest.mark.parametrize("name", MODELS)
def test_every_traced_value_is_one_of_the_canonical_program(name: str, examples: Examples) -> None:
    """Perhaps with its axes in another order: fusion makes no value of its own."""
    kernel = compiled(name, examples)
    inputs = inputs_of(kernel)
    canonical: set[tuple[str, bytes]] = set()

    def note(_: Op, results: Sequence[Array]) -> None:
        canonical.update(map(elements, results))

    with default_float_environment():
        interpret(canonical_program(kernel.file), inputs, note)
    for leaf, value in enumerate(values_of(kernel.file, inputs)):
        assert elements(value) in canonical, Case(
            kernel.file, TARGETS[0], inputs, None, leaf
        ).description


def elements(array: Array) -> tuple[str, bytes]:
    """All elements, in an order that does not depend on that of the axes."""
    bits = np.ascontiguousarray(array).reshape(-1).view(f"u{array.itemsize}")
    return array.dtype.name, np.sort(bits).tobytes()


def test_products_of_integers_are_traced() -> None:
    """The kernel stage takes their zero points out, so its constants are not the model's."""
    names = ("x", "s", "z", "w", "t", "u", "s", "z")
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        helper.make_node("QLinearConv", ["q", *names[1:]], ["c"]),
        helper.make_node("DequantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    constants = {
        "s": np.float32(0.1),
        "z": np.uint8(120),
        "t": np.float32(0.02),
        "u": np.int8(3),
        "w": np.arange(40 * 24 * 9, dtype=np.int64).astype(np.int8).reshape(40, 24, 3, 3),
    }
    arrays = {name: np.asarray(value) for name, value in constants.items()}
    model = build(nodes, {"x": (np.float32, ["N", 24, 12, 12])}, ["y"], arrays, opset=13)
    kernel = aivmc.compile(model)
    inputs = inputs_of(kernel)
    trace, values = traced(kernel, inputs), values_of(kernel.file, inputs)
    for leaf, digest in enumerate(trace.digests):
        case = Case(kernel.file, trace.target, inputs, None, leaf)
        assert case.judge([trace.root], operands(case, values, trace)) == digest


def test_random_ops_are_traced() -> None:
    good = proof(request())
    file = sampler_kernel().file
    trace = Session(file).execute({"x": X}, proof=good, traced=True).trace
    assert trace is not None
    seed = good.seed(file.identity, request().inputs)
    values = values_of(file, {"x": X}, seed)
    for leaf, digest in enumerate(trace.digests):
        case = Case(file, trace.target, {"x": X}, seed, leaf)
        assert case.judge([trace.root], operands(case, values, trace)) == digest


@pytest.mark.parametrize("name", ["resnet50_small", "gpt2_step_small"])
def test_a_lie_anywhere_is_found(name: str, examples: Examples) -> None:
    kernel = compiled(name, examples)
    inputs = inputs_of(kernel)
    honest, values = traced(kernel, inputs), values_of(kernel.file, inputs)
    count = len(honest.digests)
    for leaf in range(count):
        false = lie(kernel, inputs, honest, leaf)
        found, rounds = first_difference(honest, false)
        assert found == leaf
        assert len(rounds) <= math.ceil(math.log2(count)) + 1
        case = Case(kernel.file, honest.target, inputs, None, leaf)
        assert all(n < leaf for n in case.needed)
        right = case.judge([honest.root, false.root], operands(case, values, honest, false))
        assert right == honest.digests[leaf] != false.digests[leaf]


def test_no_difference(examples: Examples) -> None:
    kernel = compiled("perceptron", examples)
    trace = traced(kernel, inputs_of(kernel))
    leaf, rounds = first_difference(trace, trace)
    assert (leaf, len(rounds)) == (None, 1)


def test_the_referee_believes_nobody(examples: Examples) -> None:
    kernel = compiled("resnet50_small", examples)
    inputs = inputs_of(kernel)
    trace, values = traced(kernel, inputs), values_of(kernel.file, inputs)
    case = Case(kernel.file, trace.target, inputs, None, 9)
    (good,) = operands(case, values, trace)
    assert case.judge([trace.root], [good]) == trace.digests[9]
    with pytest.raises(TrustError, match="lacks the values of leaves"):
        case.judge([trace.root], [])
    forgeries = [
        replace(good, array=np.nextafter(good.array, np.float32(1))),
        replace(good, array=good.array.reshape(-1)),
        replace(good, proofs=[trace.tree.proof(good.leaf + 1)]),
        replace(good, proofs=[[flipped(good.proofs[0][0], 7), *good.proofs[0][1:]]]),
        replace(good, proofs=[]),
    ]
    for forgery in forgeries:
        with pytest.raises(TrustError, match=f"leaf {good.leaf} is not what both agreed on"):
            case.judge([trace.root], [forgery])
    with pytest.raises(TrustError, match="is not what both agreed on"):
        case.judge([bytes(32)], [good])
    with pytest.raises(TrustError, match="no number 1000"):
        Case(kernel.file, trace.target, inputs, None, 1000)


def test_runs_that_can_not_be_compared(examples: Examples) -> None:
    one, other = (compiled(name, examples) for name in ("perceptron", "resnet50_small"))
    inputs = inputs_of(one)
    with pytest.raises(TrustError, match="traces are of two programs"):
        first_difference(traced(one, inputs), traced(other, inputs_of(other)))
    session = Session(one.file)

    def receipt(**inputs: Array) -> Receipt:
        return read_receipt(write_receipt(session.execute(inputs, traced=True), KEY))

    first = receipt(**inputs)
    check_comparable(first, receipt(**inputs))
    with pytest.raises(TrustError, match="different inputs"):
        check_comparable(first, receipt(x=inputs["x"] + 1))
    with pytest.raises(TrustError, match="two kernels"):
        check_comparable(first, replace(first, kernel="aivm1:" + "00" * 32))
    with pytest.raises(TrustError, match="different seeds"):
        check_comparable(first, replace(first, seed=bytes(32)))


def test_a_receipt_commits_to_its_trace(examples: Examples, tmp_path: Path) -> None:
    kernel = compiled("perceptron", examples)
    done = Session(kernel.file, "x86-64-v3").execute(inputs_of(kernel), traced=True)
    assert done.trace is not None
    receipt = read_receipt(write_receipt(done, KEY))
    path = tmp_path / "t.bin"
    data = done.trace.to_bytes()
    path.write_bytes(data)
    assert read_trace(path) == done.trace
    receipt.check_trace(read_trace(path))
    bare = read_receipt(write_receipt(replace(done, trace=None), KEY))
    with pytest.raises(TrustError, match="commits to no trace"):
        bare.check_trace(done.trace)
    for other in (
        replace(done.trace, target="x86-64-v4"),
        replace(done.trace, digests=done.trace.digests[:-1]),
        replace(done.trace, digests=done.trace.digests[::-1]),
    ):
        with pytest.raises(TrustError, match="the trace is"):
            receipt.check_trace(other)


@pytest.mark.parametrize("name", ["perceptron", "resnet50_small"])
def test_a_flipped_bit_of_a_trace_is_found(name: str, examples: Examples) -> None:
    """Each one of a small trace, 10,000 of a larger one."""
    kernel = compiled(name, examples)
    done = Session(kernel.file, TARGETS[0]).execute(inputs_of(kernel), traced=True)
    receipt = read_receipt(write_receipt(done, KEY))
    assert done.trace is not None
    data = done.trace.to_bytes()
    bits = range(8 * len(data))
    for bit in bits if len(bits) < 10_000 else random.Random(1).sample(bits, 10_000):
        try:
            read = parse_trace(flipped(data, bit))
        except MalformedError:
            continue
        with pytest.raises(TrustError, match="the trace is"):
            receipt.check_trace(read)


HEADER: dict[str, Any] = {
    "format": "aivm-trace 1",
    "kernel": "aivm1:" + "00" * 32,
    "target": "t",
    "program": "00" * 32,
    "leaves": 2,
}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not valid JSON"),
        (b"x" * 10_000, "not valid JSON"),
        (canonical(HEADER), "not as long as its header says"),
        (canonical(HEADER) + b"\n" + bytes(63), "not as long as its header says"),
        (canonical(HEADER) + b"\n" + bytes(65), "not as long as its header says"),
        (canonical({**HEADER, "leaves": 1 << 40}) + b"\n", "not as long"),
        (canonical({**HEADER, "format": "aivm-trace 2"}) + b"\n", "format is not"),
        (canonical({**HEADER, "more": 1}) + b"\n", "unknown 'more'"),
        (canonical(HEADER).replace(b":2", b": 2") + b"\n" + bytes(64), "not in canonical form"),
    ],
)
def test_files_that_are_no_traces(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "t.bin").write_bytes(data)
    with pytest.raises(MalformedError, match=message):
        read_trace(tmp_path / "t.bin")
    with pytest.raises(MalformedError, match="cannot read"):
        read_trace(tmp_path / "missing")


def test_digests_of_values() -> None:
    # BLAKE3's own test vector for no input.
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert blake3(b"").hexdigest() == empty
    x = np.array([[1.0, -2.0]], np.float32)
    elements = bytes.fromhex("0000803f000000c0")
    assert leaf_digest(x) == blake3(b"f32[1, 2]\0" + blake3(elements).digest()).digest()
    assert leaf_digest(x) == leaf_digest(np.asfortranarray(x)) == leaf_digest(x.astype(">f4"))
    assert leaf_digest(x) != leaf_digest(x.reshape(2))
    narrow = np.array([-1, 7], np.int8).view(DType.I4.numpy)  # -1 has bits beyond its four
    assert leaf_digest(narrow) == blake3(b"i4[2]\0" + blake3(b"\x0f\x07").digest()).digest()
    assert leaf_digest(x[:0]) == blake3(b"f32[0, 2]\0").digest()


@pytest.mark.parametrize("bytes", [1 << 19, (1 << 19) + 2, (3 << 19) - 2, 3 << 19])
def test_digests_of_values_in_pieces(bytes: int) -> None:
    data = random.Random(bytes).randbytes(bytes)
    pieces = [data[i : i + 524288] for i in range(0, bytes, 524288)]
    joined = b"".join(blake3(piece).digest() for piece in pieces)
    values = np.frombuffer(data, np.int16)
    expected = blake3(f"i16[{values.size}]\0".encode() + joined).digest()
    assert leaf_digest(values) == expected
    tracer = Tracer()
    counts, hash_pieces = tracer.divide([[], [values]], {})
    assert counts == [0, len(pieces)]
    for i in reversed(range(len(pieces))):
        hash_pieces(1, i, i + 1)
    assert tracer.digests == (expected,)
