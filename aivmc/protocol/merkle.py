"""Merkle trees as RFC 6962 (and 9162, section 2.1) hashes them, with SHA-256."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256


class MerkleTree:
    """The tree over some leaves. A subtree is named by its leaves, ``begin`` to ``end``."""

    def __init__(self, leaves: Sequence[bytes]) -> None:
        self._leaves = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
        self._known: dict[tuple[int, int], bytes] = {}

    def __len__(self) -> int:
        return len(self._leaves)

    @property
    def root(self) -> bytes:
        return self.subtree(0, len(self))

    def subtree(self, begin: int, end: int) -> bytes:
        """The hash of a subtree, MTH of RFC 6962; of no leaves that of nothing."""
        if end - begin == 1:
            return self._leaves[begin]
        if end == begin:
            return sha256().digest()
        if (begin, end) not in self._known:
            middle = split(begin, end)
            halves = self.subtree(begin, middle) + self.subtree(middle, end)
            self._known[begin, end] = sha256(b"\x01" + halves).digest()
        return self._known[begin, end]

    def proof(self, leaf: int) -> list[bytes]:
        """The audit path of a leaf, from the leaf up."""
        begin, end, path = 0, len(self), []
        while end - begin > 1:
            middle = split(begin, end)
            if leaf < middle:
                path.append(self.subtree(middle, end))
                end = middle
            else:
                path.append(self.subtree(begin, middle))
                begin = middle
        return path[::-1]


def split(begin: int, end: int) -> int:
    """Where a subtree of several leaves parts: the largest power of 2 below their number."""
    return begin + (1 << (end - begin - 1).bit_length() - 1)


def root_of_proof(leaf: bytes, index: int, size: int, proof: Sequence[bytes]) -> bytes | None:
    """The root of a tree of ``size`` leaves that has this one at ``index``; None where the proof
    has another length than such a tree's."""
    sides = []  # from the root down: whether the leaf is in the left part
    begin, end = 0, size
    while end - begin > 1:
        middle = split(begin, end)
        sides.append(index < middle)
        begin, end = (begin, middle) if index < middle else (middle, end)
    if not 0 <= index < size or len(proof) != len(sides):
        return None
    found = sha256(b"\x00" + leaf).digest()
    for is_left, other in zip(reversed(sides), proof):
        found = sha256(b"\x01" + (found + other if is_left else other + found)).digest()
    return found
