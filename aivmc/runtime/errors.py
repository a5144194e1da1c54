"""Why a good kernel doesn't run here."""

from __future__ import annotations

from aivmc.ir.errors import AivmcError


class NodeError(AivmcError):
    """This node can't run the kernel."""
