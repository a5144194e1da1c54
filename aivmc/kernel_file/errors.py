"""Why a kernel file is refused."""

from __future__ import annotations

from aivmc.ir.errors import AivmcError


class KernelFileError(AivmcError):
    """Not a kernel file, or one that this version can't read."""


class IntegrityError(AivmcError):
    """A kernel file that isn't what its own digests say: damaged or tampered with."""
