"""Merkle trees against the vectors of Certificate Transparency, and by their own proofs."""

from __future__ import annotations

from hashlib import sha256

import pytest

from aivmc.protocol.merkle import MerkleTree, root_of_proof, split
from tests.trust.test_ecvrf import flipped

# Certificate Transparency's reference tests: the leaves, and the root over the first 1, 2, … 8.
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        *("", "00", "10", "2021", "3031", "40414243", "5051525354555657"),
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_roots(size: int) -> None:
    assert MerkleTree(LEAVES[:size]).root.hex() == ROOTS[size - 1]


def test_no_leaves() -> None:
    assert MerkleTree([]).root == sha256(b"").digest()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 33])
def test_proofs(size: int) -> None:
    leaves = [bytes([i]) for i in range(size)]
    tree = MerkleTree(leaves)
    for i, leaf in enumerate(leaves):
        proof = tree.proof(i)
        assert len(proof) <= (size - 1).bit_length()
        assert root_of_proof(leaf, i, size, proof) == tree.root
        assert root_of_proof(b"other", i, size, proof) != tree.root
        assert root_of_proof(leaf, (i + 1) % size, size, proof) != tree.root or size == 1
        assert root_of_proof(leaf, i, size, [*proof, b""]) is None
        assert root_of_proof(leaf, i, size, proof[1:]) is None or not proof
        for n, bit in enumerate(range(0, 256, 37)):
            if proof:
                at = n % len(proof)
                forged = [*proof[:at], flipped(proof[at], bit), *proof[at + 1 :]]
                assert root_of_proof(leaf, i, size, forged) != tree.root
    for outside in (-1, size):
        assert root_of_proof(b"", outside, size, []) is None


def test_a_node_is_no_leaf() -> None:
    left, right = (sha256(b"\x00" + leaf).digest() for leaf in LEAVES[:2])
    assert MerkleTree([left + right]).root != MerkleTree(LEAVES[:2]).root


@pytest.mark.parametrize(
    ("begin", "end", "middle"), [(0, 2, 1), (0, 3, 2), (0, 8, 4), (0, 9, 8), (8, 13, 12), (4, 6, 5)]
)
def test_where_trees_part(begin: int, end: int, middle: int) -> None:
    assert split(begin, end) == middle
