"""Errors in text: the message, the place, the line and a caret under the column."""

from __future__ import annotations

from aivmc.ir.errors import IRError

_WIDTH = 100  # characters of a line that are quoted


class Diagnostic(IRError):  # noqa: N818
    """A fault at a line and column (from 1) of a text, quoted in the message."""

    def __init__(self, reason: str, text: str, line: int, column: int, file: str) -> None:
        self.reason, self.file, self.line, self.column = reason, file, line, column
        super().__init__(f"{file}:{line}:{column}: {reason}\n{quote_line(text, line, column)}")


def quote_line(text: str, line: int, column: int) -> str:
    """The line with its number, cut where it is long, and a caret under the column."""
    lines = text.split("\n", line)
    source = lines[line - 1] if 0 < line <= len(lines) else ""
    start = max(0, column - 1 - _WIDTH // 2) if len(source) > _WIDTH else 0
    shown = source[start : start + _WIDTH].rstrip()
    visible = "".join(c if c.isprintable() else " " for c in shown)
    margin = f"{line:>5} | "
    return f"{margin}{visible}\n{' ' * (len(margin) - 2)}| {' ' * (column - 1 - start)}^"
