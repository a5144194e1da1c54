"""Why PTX is refused, and what it did wrong when it ran."""

from __future__ import annotations

from aivmc.ir.diagnostics import quote_line
from aivmc.ir.errors import AivmcError


class PtxError(AivmcError):
    """PTX that is refused, at a ``line`` and ``column`` (from 1) that the message quotes."""

    def __init__(self, reason: str, text: str, line: int, column: int) -> None:
        self.reason, self.line, self.column = reason, line, column
        quoted = quote_line(text.expandtabs(1), line, column)
        super().__init__(f"PTX line {line}, column {column}: {reason}\n{quoted}")


class DeviceError(AivmcError):
    """A request that the device can't serve: a wrong argument, address, grid or block."""


class KernelFault(AivmcError):  # noqa: N818
    """What a kernel may not do, in its place: ``kernel``, ``line`` of the PTX (from 1), ``block``
    and ``thread`` (x, y, z)."""

    def __init__(
        self,
        reason: str,
        kernel: str,
        text: str,
        line: int,
        block: tuple[int, int, int],
        thread: tuple[int, int, int],
    ) -> None:
        self.reason, self.kernel, self.line = reason, kernel, line
        self.block, self.thread = block, thread
        quoted = quote_line(text.expandtabs(1), line, 1).split("\n")[0]
        super().__init__(
            f"{kernel}, PTX line {line}, block {block}, thread {thread}: {reason}\n{quoted}"
        )
