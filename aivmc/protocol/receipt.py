"""Receipts: a node's signed word on an execution. docs/protocol.md specifies them.

A receipt is an in-toto Statement (v1) about the outputs, in an envelope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aivmc.ir.binding import InputError, bind_symbols
from aivmc.ir.dims import evaluate
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.reader import KernelFile
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.signature import Signature
from aivmc.protocol.execution import Execution, Tensor
from aivmc.protocol.trace import TARGET, Trace
from aivmc.runtime.environment import describe
from aivmc.trust.documents import Json, hex_bytes, members, natural, text
from aivmc.trust.envelope import Signed, seal, unseal
from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.keys import PrivateKey
from aivmc.trust.nonces import note_answer
from aivmc.trust.request import PROTOCOL, Proof, Request
from aivmc.trust.sources import request_from_json

STATEMENT = "https://in-toto.io/Statement/v1"
PREDICATE = "urn:aivm:receipt:1"

_PREDICATE_KEYS = (
    *("protocol", "kernel", "target", "inputs", "outputs", "seed", "request", "node", "time"),
    "trace",
)
_DIM = r"(?:0|[1-9][0-9]{0,14})"
_STATIC_TYPE = re.compile(rf"([a-z0-9]+)\[({_DIM}(?:, {_DIM})*)?\]")


@dataclass(frozen=True)
class Receipt:
    """What a receipt states, of a valid form and signed by ``signer``.

    ``seed`` is given where the policy is ``input``, ``proof`` where it is ``vrf``; ``time`` is the
    node's own, in seconds since 1970.
    """

    signer: bytes
    kernel: str
    target: str
    seed_policy: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    seed: bytes | None
    request: Request | None
    proof: Proof | None
    node: Mapping[str, Json]
    time: int
    trace: Mapping[str, Json] | None

    @property
    def input_digests(self) -> dict[str, str]:
        return {name: tensor.sha256 for name, tensor in self.inputs.items()}

    @property
    def input_types(self) -> dict[str, TensorType]:
        return _static_types(self.inputs)

    def check_signer(self, public: bytes) -> None:
        """``TrustError`` unless this key signed it."""
        if self.signer != public:
            raise TrustError(f"{self.signer.hex()} signed it, not {public.hex()}")

    def check_answers(self, request: Request) -> None:
        """``TrustError`` unless it is this request that the receipt answers."""
        if self.request != request:
            raise TrustError("the receipt answers another request, or none")

    def check_new(self, nonces: str | Path) -> None:
        """``TrustError`` where its signer answered the request before, by the file ``nonces``."""
        if self.request is None:
            raise TrustError("the receipt answers no request, so it has no nonce")
        note_answer(nonces, self.request, self.signer)

    def check_request(self) -> None:
        """``TrustError`` unless the request is for this execution, and was answered in time."""
        if self.request:
            self.request.check(self.kernel, self.input_digests, self.seed)
            self.request.check_time(self.time)

    def check_proof(self) -> None:
        """``TrustError`` unless its proof, if it has one, is valid for its request."""
        if self.proof:
            self.proof.seed(self.kernel, self.input_digests)

    def check_kernel(self, kernel: KernelFile) -> None:
        """``TrustError`` unless the receipt is for this kernel, and such as it can give."""
        manifest, identity = kernel.manifest, kernel.identity
        if self.kernel != identity:
            raise TrustError(f"the receipt is for the kernel {self.kernel}, and this is {identity}")
        if self.target not in manifest.targets:
            raise TrustError(f"the kernel has no target {self.target!r}")
        policy = SeedPolicy.from_config(manifest.config).policy
        if self.seed_policy != policy:
            raise TrustError(
                f"the receipt says that the seed policy is {self.seed_policy}, and it is {policy}"
            )
        self._check_types(manifest.signature)

    def _check_types(self, signature: Signature) -> None:
        inputs, outputs = _static_types(self.inputs), _static_types(self.outputs)
        bounds = {n: (b.low, b.high) for n, b in signature.symbols.items()}
        shapes = {n: tuple(d for d in t.shape if isinstance(d, int)) for n, t in inputs.items()}
        try:
            values = bind_symbols(signature.inputs, shapes, signature.constraints, bounds)
        except InputError as error:
            raise TrustError(f"the receipt's inputs are not the kernel's: {error}") from None
        for declared, found in ((signature.inputs, inputs), (signature.outputs, outputs)):
            expected = {
                name: TensorType(t.dtype, tuple(evaluate(d, values) for d in t.shape))
                for name, t in declared
            }
            if expected != found:
                wrong = sorted(n for n in {*expected, *found} if expected.get(n) != found.get(n))
                listed = ", ".join(map(repr, wrong))
                raise TrustError(f"the receipt's {listed} are not as the kernel's types")

    def check_trace(self, trace: Trace) -> None:
        """``TrustError`` unless it is this trace that the receipt commits to."""
        if self.trace is None:
            raise TrustError("the receipt commits to no trace")
        if (trace.kernel, trace.target) != (self.kernel, self.target):
            raise TrustError("the trace is of another kernel or target than the receipt")
        if _trace_json(trace) != self.trace:
            raise TrustError("the trace is not the one that the receipt commits to")

    def check_inputs(self, inputs: Mapping[str, Tensor]) -> None:
        """``TrustError`` unless the receipt is for these inputs."""
        _check_same("inputs", self.inputs, inputs)

    def check_outputs(self, outputs: Mapping[str, Tensor]) -> None:
        """``TrustError`` unless the receipt has these outputs."""
        _check_same("outputs", self.outputs, outputs)


def write_receipt(execution: Execution, key: PrivateKey) -> bytes:
    """The receipt for an execution, signed: the bytes of its file."""
    return seal(_statement(execution, key.public), key)


def read_receipt(data: bytes) -> Receipt:
    """The receipt in a file; ``MalformedError`` where it is none, ``TrustError`` where its
    signature is not valid."""
    return _receipt(unseal(data))


def _statement(execution: Execution, public: bytes) -> Json:
    request, proof = execution.request, execution.proof
    seed: dict[str, Json] = {"policy": execution.seed_policy}
    if proof:
        seed |= {"alpha": proof.alpha.hex(), "beacon": proof.beacon.hex()}
        seed |= {"proof": proof.proof.hex()}
    elif execution.seed is not None:
        seed |= {"seed": execution.seed.hex()}
    return {
        "_type": STATEMENT,
        "subject": _subject(execution.outputs),
        "predicateType": PREDICATE,
        "predicate": {
            "protocol": PROTOCOL,
            "kernel": execution.kernel,
            "target": execution.target,
            "inputs": _tensors_json(execution.inputs),
            "outputs": _tensors_json(execution.outputs),
            "seed": seed,
            "request": request.to_json() if request else None,
            "node": {"public_key": public.hex(), **describe()},
            "time": execution.time,
            "trace": _trace_json(execution.trace),
        },
    }


def _receipt(signed: Signed) -> Receipt:
    keys = ("_type", "subject", "predicateType", "predicate")
    statement = members(signed.statement, "statement", keys)
    if (statement["_type"], statement["predicateType"]) != (STATEMENT, PREDICATE):
        raise MalformedError("the statement is not a receipt: its types are others")
    data = members(statement["predicate"], "receipt", _PREDICATE_KEYS)
    if data["protocol"] != PROTOCOL:
        raise MalformedError(f"the receipt's protocol is not {PROTOCOL!r}")
    outputs = _tensors(data["outputs"], "output")
    if statement["subject"] != _subject(outputs):
        raise MalformedError("the statement is not about the receipt's outputs")
    node = _node(data["node"])
    if node.get("public_key") != signed.signer.hex():
        raise TrustError("the receipt was signed by another key than that of its node")
    request = None if data["request"] is None else request_from_json(data["request"])
    policy, seed, proof = _seed(data["seed"], request)
    return Receipt(
        signed.signer,
        text(data["kernel"], "receipt's kernel", r"aivm1:[0-9a-f]{64}"),
        text(data["target"], "receipt's target", TARGET),
        policy,
        _tensors(data["inputs"], "input"),
        outputs,
        seed,
        request,
        proof,
        node,
        natural(data["time"], "receipt's time"),
        _trace(data["trace"]),
    )


def _seed(value: Json, request: Request | None) -> tuple[str, bytes | None, Proof | None]:
    """Policy, and seed or proof."""
    policy = value.get("policy") if isinstance(value, dict) else None
    if policy == "fixed":
        members(value, "receipt's seed", ("policy",))
        return policy, None, None
    if policy == "input":
        data = members(value, "receipt's seed", ("policy", "seed"))
        return policy, hex_bytes(data["seed"], 32, "receipt's seed"), None
    if policy != "vrf":
        raise MalformedError("the receipt has no known seed policy")
    data = members(value, "receipt's seed", ("policy", "alpha", "beacon", "proof"))
    if request is None:
        raise MalformedError("the receipt has a proof, and no request that it is about")
    beacon = hex_bytes(data["beacon"], None, "receipt's beacon")
    proof = Proof(request, hex_bytes(data["proof"], None, "receipt's proof"), beacon)
    if data["alpha"] != proof.alpha.hex():
        raise TrustError("the receipt's alpha is not that of its request and beacon")
    return policy, None, proof


def _node(value: Json) -> dict[str, Json]:
    """Facts by name: printable texts, and lists of them."""
    if not isinstance(value, dict):
        raise MalformedError("the receipt's node is not a JSON object")
    for name, fact in value.items():
        for each in [name, *fact] if isinstance(fact, list) else [name, fact]:
            if not isinstance(each, str) or not each.isprintable():
                raise MalformedError(f"the receipt's node has no printable {name[:40]!r}")
    return value


def _trace_json(trace: Trace | None) -> Json:
    if trace is None:
        return None
    return {
        "program": trace.program,
        "root": trace.root.hex(),
        "leaves": len(trace.digests),
    }


def _trace(value: Json) -> Json:
    """What :func:`_trace_json` gave; ``MalformedError`` where it gave none such."""
    if value is not None:
        data = members(value, "receipt's trace", ("program", "root", "leaves"))
        for name in ("program", "root"):
            hex_bytes(data[name], 32, f"trace's {name}")
        natural(data["leaves"], "trace's number of leaves")
    return value


def _subject(outputs: Mapping[str, Tensor]) -> Json:
    return [{"name": n, "digest": {"sha256": t.sha256}} for n, t in sorted(outputs.items())]


def _tensors_json(tensors: Mapping[str, Tensor]) -> Json:
    return {name: {"type": t.type, "sha256": t.sha256} for name, t in tensors.items()}


def _tensors(value: Json, what: str) -> dict[str, Tensor]:
    if not isinstance(value, dict):
        raise MalformedError(f"the receipt's {what}s are not a JSON object")
    found = {}
    for name, each in value.items():
        tensor = members(each, f"receipt's {what} {name!r}", ("type", "sha256"))
        digest = hex_bytes(tensor["sha256"], 32, f"digest of {what} {name!r}").hex()
        found[name] = Tensor(text(tensor["type"], f"type of {what} {name!r}"), digest)
    _static_types(found)
    return found


def _static_types(tensors: Mapping[str, Tensor]) -> dict[str, TensorType]:
    """``MalformedError`` where a type is none, or doesn't say how large the tensor is."""
    types = {}
    for name, tensor in tensors.items():
        match = _STATIC_TYPE.fullmatch(tensor.type)
        try:
            dtype = DType(match[1] if match else "")
        except ValueError:
            raise MalformedError(
                f"{name!r} has no type of known size: {tensor.type[:40]!r}"
            ) from None
        dims = match[2].split(", ") if match and match[2] else []
        types[name] = TensorType(dtype, tuple(map(int, dims)))
    return types


def _check_same(what: str, stated: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    wrong = sorted(n for n in {*stated, *found} if stated.get(n) != found.get(n))
    if wrong:
        listed = ", ".join(map(repr, wrong))
        raise TrustError(f"the receipt is for other {what}: {listed} differ")
