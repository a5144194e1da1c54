"""Executions refuse, before the kernel runs, whatever isn't as the protocol says."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import aivmc
from aivmc.ir.binding import InputError
from aivmc.ir.constants import tensor_digest
from aivmc.ir.errors import AivmcError
from aivmc.ir.types import DType
from aivmc.kernel_file.signature import parse_type
from aivmc.kernel_file.writer import write_kernel
from aivmc.protocol import execution
from aivmc.protocol.execution import Session, Tensor, open_session
from aivmc.runtime.errors import NodeError
from aivmc.runtime.executor import Executor
from aivmc.runtime.kernel import Kernel, input_digests
from aivmc.trust import ecvrf
from aivmc.trust.errors import TrustError
from aivmc.trust.request import Proof, Request
from aivmc.trust.sources import NodeVrf
from tests.guarantees.examples_kit import same_bits
from tests.hand_made import contents
from tests.onnx_models import build
from tests.test_docs import page
from tests.trust.test_ecvrf import EXAMPLES

SECRET, PUBLIC = EXAMPLES[0][:2]
BEACON = bytes(range(32))
X = np.arange(6, dtype=np.float32)


def sampler() -> onnx.ModelProto:
    node = onnx.helper.make_node("RandomNormalLike", ["x"], ["y"])
    return build([node], {"x": (np.float32, [6])}, ["y"])


@cache
def kernel(policy: str = "vrf") -> Kernel:
    return aivmc.compile(sampler(), seed_policy=policy)


@pytest.fixture
def session() -> Session:
    return Session(kernel().file)


def request(expires: int = 1 << 40, **changes: Any) -> Request:
    fields = {
        "kernel": kernel().identity,
        "inputs": input_digests({"x": X}),
        "nonce": bytes(32),
        "expires": expires,
        "source": NodeVrf(PUBLIC, "chain", 7),
    }
    return Request(**{**fields, **changes})


def proof(request: Request, beacon: bytes = BEACON) -> Proof:
    return Proof(request, ecvrf.prove(SECRET, request.alpha(beacon)), beacon)


@pytest.fixture
def nothing_runs(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on, executing is a failure; compiling executes self-tests before."""
    for policy in ("fixed", "input"):
        kernel(policy)

    def run(*_: Any, **__: Any) -> None:
        pytest.fail("the kernel was executed")

    monkeypatch.setattr(Executor, "run", run)


def vectors() -> Iterator[tuple[str, bytes, str]]:
    for line in page("protocol.md").splitlines():
        cells = [cell.strip(" `") for cell in line.split("|")]
        if len(cells) == 5 and "[" in cells[1]:
            yield cells[1], bytes.fromhex(cells[2].replace("none", "")), cells[3]


@pytest.mark.parametrize(("type", "elements", "digest"), list(vectors()))
def test_the_documents_tensor_digests(type: str, elements: bytes, digest: str) -> None:
    assert sha256(type.encode() + b"\0" + elements).hexdigest() == digest
    parsed = parse_type(type)
    shape = [int(str(d)) for d in parsed.shape]
    array = np.frombuffer(elements, parsed.dtype.numpy).reshape(shape)
    assert Tensor.of(array) == Tensor(type, digest)


def test_the_documents_have_vectors() -> None:
    types = [type.split("[")[0] for type, _, _ in vectors()]
    assert {"f32", "f64", "i64", "bf16", "bool", "i4", "c64"} <= set(types)
    assert set(types) <= {d.value for d in DType}


def test_a_tensor_has_one_digest_however_it_lies_in_memory() -> None:
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    plain = sha256(b"f32[3, 4]\0" + struct.pack("<12f", *range(12))).hexdigest()
    for same in (a, np.asfortranarray(a), a.astype(">f4"), np.stack([a, a], 2)[..., 0]):
        assert tensor_digest(same) == plain
    assert tensor_digest(a.T) != plain
    assert tensor_digest(a.reshape(4, 3)) != plain
    assert tensor_digest(a.view(np.int32)) != plain


def test_a_proof_decides_the_bits(session: Session) -> None:
    good = proof(request())
    done = session.execute({"x": X}, proof=good)
    assert done.outputs["y"] == Tensor("f32[6]", tensor_digest(done.arrays["y"]))
    assert done.request == good.request
    by_hand = kernel("input").run({"x": X}, seed=good.seed(kernel().identity, request().inputs))
    assert same_bits(done.arrays, by_hand)
    assert same_bits(kernel().run({"x": X}, proof=good), by_hand)
    other = session.execute({"x": X}, proof=proof(request(), BEACON[::-1]))
    assert not same_bits(done.arrays, other.arrays)


@pytest.mark.usefixtures("nothing_runs")
def test_without_a_good_proof_nothing_runs(session: Session) -> None:
    good = proof(request())
    forged = Proof(good.request, good.proof, bytes(32))
    for run in (session.execute, kernel().run):
        with pytest.raises(InputError, match="only with a proof"):
            run({"x": X})
        with pytest.raises(InputError, match="draws from a proof only"):
            run({"x": X}, seed=bytes(32))
        with pytest.raises(InputError, match="draws from a proof only"):
            run({"x": X}, seed=bytes(32), proof=good)
        with pytest.raises(TrustError, match="VRF proof is not valid"):
            run({"x": X}, proof=forged)
        with pytest.raises(TrustError, match="for other inputs: 'x' differ"):
            run({"x": X + 1}, proof=good)
        with pytest.raises(TrustError, match="for other inputs"):
            run({}, proof=good)
        elsewhere = proof(request(kernel=kernel("input").identity))
        with pytest.raises(TrustError, match="the request is for the kernel"):
            run({"x": X}, proof=elsewhere)
    with pytest.raises(InputError, match="only with a proof"):
        session.execute({"x": X}, request=request())


@pytest.mark.usefixtures("nothing_runs")
def test_other_policies_take_no_proof() -> None:
    for policy in ("input", "fixed"):
        about = proof(request(kernel=kernel(policy).identity))
        with pytest.raises(InputError, match=f"policy is {policy}: it takes no proof"):
            kernel(policy).run({"x": X}, proof=about)


def test_requests_expire_and_are_answered_once(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "nonces"
    asked = proof(request(expires=1000))
    monkeypatch.setattr(execution, "_now", lambda: 1000)
    forged = Proof(asked.request, asked.proof, bytes(32))
    with pytest.raises(TrustError, match="not valid"):
        session.execute({"x": X}, proof=forged, nonces=store)
    session.execute({"x": X}, proof=asked, nonces=store)
    with pytest.raises(TrustError, match="this is a replay"):
        session.execute({"x": X}, proof=asked, nonces=store)
    session.execute({"x": X}, proof=asked)
    monkeypatch.setattr(execution, "_now", lambda: 1001)
    with pytest.raises(TrustError, match="expired 1 s ago"):
        session.execute({"x": X}, proof=asked)


def test_requests_for_kernels_that_take_no_proof() -> None:
    fixed = Session(kernel("fixed").file)
    asked = request(kernel=fixed.kernel.identity, source=None)
    assert fixed.execute({"x": X}, request=asked).request == asked
    with pytest.raises(TrustError, match="for other inputs"):
        fixed.execute({"x": X * 2}, request=asked)


def test_a_request_fixes_the_seed() -> None:
    session = Session(kernel("input").file)
    seed, other = bytes(32), bytes([1]) * 32
    asked = request(kernel=session.kernel.identity, source=None, seed=seed)
    done = session.execute({"x": X}, request=asked)
    assert done.seed == seed
    assert same_bits(done.arrays, session.execute({"x": X}, seed=seed, request=asked).arrays)
    with pytest.raises(TrustError, match="for another seed"):
        session.execute({"x": X}, seed=other, request=asked)
    unfixed = request(kernel=session.kernel.identity, source=None)
    with pytest.raises(TrustError, match="for another seed"):
        session.execute({"x": X}, seed=seed, request=unfixed)
    with pytest.raises(InputError, match="takes a seed with each request"):
        session.execute({"x": X}, request=unfixed)


def test_a_bool_is_zero_or_one(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Not", ["b"], ["y"])
    negation = Session(aivmc.compile(build([node], {"b": (np.bool_, [2])}, ["y"])).file)
    done = negation.execute({"b": np.array([True, False])})
    assert done.arrays["y"].tolist() == [False, True]
    with pytest.raises(InputError, match="'b' has a bool whose byte is neither 0 nor 1"):
        negation.execute({"b": np.array([2, 0], np.uint8).view(np.bool_)})


def test_a_node_that_computes_other_bits_is_found(tmp_path: Path) -> None:
    good = contents()
    wrong = {**good.selftest, "outputs": {"y": "00" * 32}}
    write_kernel(contents(selftest=wrong), tmp_path / "k.aivm")
    with pytest.raises(NodeError, match="other bits than the kernel's self-test records in y"):
        open_session(tmp_path / "k.aivm")
    with pytest.raises(NodeError, match="no target 'x86-64-v9'"):
        Session(kernel().file, "x86-64-v9")


def test_kernels_that_are_not_whole(tmp_path: Path) -> None:
    write_kernel(contents(), tmp_path / "k.aivm")
    data = bytearray((tmp_path / "k.aivm").read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "k.aivm").write_bytes(data)
    with pytest.raises(AivmcError):
        open_session(tmp_path / "k.aivm")
