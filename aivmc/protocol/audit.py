"""Audits: many receipts side by side, grouped by what must give the same bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from aivmc.protocol.execution import Tensor
from aivmc.protocol.receipt import Receipt, read_receipt
from aivmc.trust.documents import LONGEST, Json, canonical
from aivmc.trust.errors import MalformedError, TrustError


@dataclass(frozen=True)
class Answer:
    """One receipt in a file: who gave which outputs, on what."""

    file: str
    signer: str
    target: str
    cpu: str
    outputs: str
    """SHA-256 over the names, types and digests of all outputs."""


@dataclass(frozen=True)
class Group:
    """Receipts for one kernel on the same inputs, drawing from the same seed."""

    kernel: str
    inputs: Mapping[str, Tensor]
    seed: str
    answers: tuple[Answer, ...]

    @property
    def by_outputs(self) -> dict[str, list[Answer]]:
        """The answers by their outputs, the most frequent ones first."""
        found: dict[str, list[Answer]] = {}
        for answer in self.answers:
            found.setdefault(answer.outputs, []).append(answer)
        return dict(sorted(found.items(), key=lambda item: (-len(item[1]), item[0])))

    @property
    def agrees(self) -> bool:
        return len(self.by_outputs) == 1


@dataclass(frozen=True)
class Refused:
    """A file that holds no good receipt."""

    file: str
    reason: str


@dataclass(frozen=True)
class Report:
    """What an audit found. Groups that disagree come first."""

    groups: tuple[Group, ...]
    refused: tuple[Refused, ...]

    @property
    def is_clean(self) -> bool:
        return not self.refused and all(group.agrees for group in self.groups)

    def to_json(self) -> dict[str, Json]:
        return {
            "clean": self.is_clean,
            "groups": [_group_json(group) for group in self.groups],
            "refused": [{"file": r.file, "reason": r.reason} for r in self.refused],
        }


def audit(files: Iterable[Path]) -> Report:
    """The receipts in these files, each verified for itself and compared with the others.

    A receipt whose signer answered the same request before, in the order of the files, is refused.
    """
    groups: dict[bytes, list[tuple[Path, Receipt]]] = {}
    refused = []
    answered: set[tuple[bytes, bytes]] = set()
    for file in files:
        try:
            receipt = _read(file)
            _check_first(receipt, answered)
        except (MalformedError, TrustError) as error:
            refused.append(Refused(str(file), str(error)))
            continue
        groups.setdefault(canonical(_what(receipt)), []).append((file, receipt))
    made = [_group(members) for _, members in sorted(groups.items())]
    return Report(tuple(sorted(made, key=lambda group: group.agrees)), tuple(refused))


def _read(file: Path) -> Receipt:
    try:
        with open(file, "rb") as opened:
            receipt = read_receipt(opened.read(LONGEST + 1))
    except OSError as error:
        raise MalformedError(f"it can't be read: {error.strerror or error}") from None
    receipt.check_request()
    receipt.check_proof()
    return receipt


def _check_first(receipt: Receipt, answered: set[tuple[bytes, bytes]]) -> None:
    if receipt.request is None:
        return
    key = (receipt.signer, receipt.request.nonce)
    if key in answered:
        raise TrustError("its signer answered this nonce in another receipt: a replay")
    answered.add(key)


def _seed(receipt: Receipt) -> str:
    """What the run drew from, in words."""
    if receipt.proof:
        return receipt.proof.seed(receipt.kernel, receipt.input_digests).hex()
    return receipt.seed.hex() if receipt.seed else receipt.seed_policy


def _what(receipt: Receipt) -> Json:
    """What decides the outputs' bits."""
    inputs = {name: [t.type, t.sha256] for name, t in receipt.inputs.items()}
    return [receipt.kernel, inputs, receipt.seed_policy, _seed(receipt)]


def _group(members: list[tuple[Path, Receipt]]) -> Group:
    first = members[0][1]
    answers = tuple(
        Answer(
            str(file),
            receipt.signer.hex(),
            receipt.target,
            str(receipt.node.get("cpu", "")),
            _outputs_digest(receipt),
        )
        for file, receipt in members
    )
    return Group(first.kernel, first.inputs, _seed(first), answers)


def _outputs_digest(receipt: Receipt) -> str:
    outputs = {name: [t.type, t.sha256] for name, t in receipt.outputs.items()}
    return sha256(canonical(outputs)).hexdigest()


def _group_json(group: Group) -> Json:
    return {
        "kernel": group.kernel,
        "inputs": {n: {"type": t.type, "sha256": t.sha256} for n, t in group.inputs.items()},
        "seed": group.seed,
        "agrees": group.agrees,
        "outputs": [
            {
                "digest": digest,
                "answers": [
                    {"file": a.file, "signer": a.signer, "target": a.target, "cpu": a.cpu}
                    for a in answers
                ],
            }
            for digest, answers in group.by_outputs.items()
        ],
    }
