"""Disputes: where two runs of one kernel first differ, in as many rounds as a tree is deep."""

from __future__ import annotations

from dataclasses import dataclass

from aivmc.protocol.merkle import MerkleTree, split
from aivmc.protocol.receipt import Receipt
from aivmc.protocol.trace import Trace
from aivmc.trust.errors import TrustError


@dataclass(frozen=True)
class Round:
    """One question to both: the hash over the leaves from ``begin`` to ``end``."""

    begin: int
    end: int
    agree: bool


def check_comparable(a: Receipt, b: Receipt) -> None:
    """``TrustError`` unless both are of one kernel, on the same inputs, drawing from the same."""
    if a.kernel != b.kernel:
        raise TrustError(f"the receipts are for two kernels: {a.kernel} and {b.kernel}")
    if a.input_digests != b.input_digests:
        raise TrustError("the receipts are for different inputs")
    drawn = [(r.seed, r.proof.seed(r.kernel, r.input_digests) if r.proof else None) for r in (a, b)]
    if drawn[0] != drawn[1]:
        raise TrustError("the receipts are of runs that drew from different seeds")


def first_difference(a: Trace, b: Trace) -> tuple[int | None, list[Round]]:
    """The first leaf in which the traces differ, None if none does; and the rounds that it took.

    In each round both name the hash of one subtree: the whole first, then the left half of that in
    which they differ. All leaves before the one that is found are equal. At most
    ceil(log2 leaves) + 1 rounds. ``TrustError`` where the traces are not of one program.
    """
    if a.program != b.program or len(a.digests) != len(b.digests):
        raise TrustError(
            "the traces are of two programs: the targets fuse differently, so compare nodes that "
            "ran the same target"
        )
    begin, end = 0, len(a.digests)
    rounds = [_ask(a.tree, b.tree, begin, end)]
    if rounds[0].agree:
        return None, rounds
    while end - begin > 1:
        middle = split(begin, end)
        rounds.append(_ask(a.tree, b.tree, begin, middle))
        begin, end = (middle, end) if rounds[-1].agree else (begin, middle)
    return begin, rounds


def _ask(a: MerkleTree, b: MerkleTree, begin: int, end: int) -> Round:
    return Round(begin, end, a.subtree(begin, end) == b.subtree(begin, end))
