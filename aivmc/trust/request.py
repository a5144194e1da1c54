"""Requests, and the way from a request with a proof to the seed that a kernel draws from.

docs/protocol.md specifies both. What proves randomness is behind :class:`Source`, so that this
module, which the runtime imports, needs no cryptography but hashes.
"""

from __future__ import annotations

import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256, sha512
from typing import ClassVar

from aivmc.ir.seeds import SEED_BYTES
from aivmc.trust.documents import Json, canonical
from aivmc.trust.errors import TrustError

PROTOCOL = "aivm-exec 1"
NONCE_BYTES = 32

_REQUEST = b"aivm-exec 1 request\0"
_ALPHA = b"aivm-exec 1 alpha\0"
_SEED = b"aivm-exec 1 seed\0"


class Source(ABC):
    """Where public randomness comes from: whom a proof must come from, and how it is verified."""

    name: ClassVar[str]
    beacon_bytes: ClassVar[int]
    """Length of the beacon's value in alpha; 0 where none enters it."""

    @abstractmethod
    def to_json(self) -> dict[str, Json]:
        """The source as a request names it; ``source`` is its ``name``."""

    @abstractmethod
    def beta(self, alpha: bytes, proof: bytes) -> bytes:
        """The random bytes that ``proof`` proves. ``TrustError`` says why it proves none."""


@dataclass(frozen=True)
class Request:
    """What is to be run, fixed before its randomness is known.

    ``inputs`` are tensor digests by name; ``expires`` is in seconds since 1970, UTC. ``source`` is
    for a kernel whose seed policy is ``vrf``, ``seed`` for one whose policy is ``input``.
    """

    kernel: str
    inputs: Mapping[str, str]
    nonce: bytes
    expires: int
    source: Source | None = None
    seed: bytes | None = None

    @staticmethod
    def new_nonce() -> bytes:
        return secrets.token_bytes(NONCE_BYTES)

    def to_json(self) -> dict[str, Json]:
        return {
            "protocol": PROTOCOL,
            "kernel": self.kernel,
            "inputs": dict(self.inputs),
            "nonce": self.nonce.hex(),
            "expires": self.expires,
            "randomness": self.source.to_json() if self.source else None,
            "seed": None if self.seed is None else self.seed.hex(),
        }

    def digest(self) -> bytes:
        """SHA-256 of a domain and the request's canonical form."""
        return sha256(_REQUEST + canonical(self.to_json())).digest()

    def alpha(self, beacon: bytes = b"") -> bytes:
        """What the proof is about: 32 bytes. ``beacon`` is the value that its source waits for."""
        expected = self.source.beacon_bytes if self.source else 0
        if len(beacon) != expected:
            raise TrustError(
                f"the request's source takes a beacon value of {expected} bytes, not {len(beacon)}"
            )
        return sha256(_ALPHA + self.digest() + beacon).digest()

    def check(self, kernel: str, inputs: Mapping[str, str], seed: bytes | None = None) -> None:
        """``TrustError`` unless this is the request for that kernel, those inputs, and that seed
        where one is given."""
        if self.kernel != kernel:
            raise TrustError(f"the request is for the kernel {self.kernel}, and this is {kernel}")
        if dict(self.inputs) != dict(inputs):
            names = {*self.inputs, *inputs}
            wrong = sorted(n for n in names if self.inputs.get(n) != inputs.get(n))
            listed = ", ".join(map(repr, wrong))
            raise TrustError(f"the request is for other inputs: {listed} differ")
        if self.seed != seed:
            raise TrustError("the request is for another seed")

    def check_time(self, now: int) -> None:
        """``TrustError`` where the request had expired at ``now``, in seconds since 1970."""
        if now > self.expires:
            raise TrustError(
                f"the request expired {now - self.expires} s ago: its nonce is good no more"
            )


@dataclass(frozen=True)
class Proof:
    """The randomness of a request: ``proof`` is what its source takes, about alpha with ``beacon``.

    ``kernel.run`` takes it for kernels whose seed policy is ``vrf``, and verifies it first.
    """

    request: Request
    proof: bytes
    beacon: bytes = b""

    @cached_property
    def alpha(self) -> bytes:
        """What the proof is about."""
        return self.request.alpha(self.beacon)

    def beta(self) -> bytes:
        """The random bytes; ``TrustError`` where the proof is not valid."""
        source = self.request.source
        if source is None:
            raise TrustError("the request names no source of randomness, and a proof is given")
        return source.beta(self.alpha, self.proof)

    def seed(self, kernel: str, inputs: Mapping[str, str]) -> bytes:
        """The 32 bytes that a run of this kernel on these inputs draws from.

        ``inputs`` are digests by name. ``TrustError`` unless the proof is valid and about them.
        """
        self.request.check(kernel, inputs)
        beta = self.beta()
        return sha512(_SEED + self.alpha + beta).digest()[:SEED_BYTES]
