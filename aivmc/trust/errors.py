"""Why a proof, a signature or a document is refused."""

from __future__ import annotations

from aivmc.ir.errors import AivmcError


class TrustError(AivmcError):
    """A proof, signature, digest, nonce or time that does not check out."""


class MalformedError(AivmcError):
    """A key, request, proof or receipt that can't be read as one."""
