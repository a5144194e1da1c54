"""PTX text to tokens, each with its place. Comments are dropped."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from aivmc.ptx.errors import PtxError

TEXT_LIMIT = 64 << 20  # characters

# Names as the ISA has them (section "Identifiers"), and with the parts that follow dots: opcodes,
# directives and the components of special registers are one token each.
_NAME = r"[A-Za-z_$%][\w$]*"
_TOKEN = re.compile(
    rf"""(?P<space>[ \t\r\n]+|//[^\n]*|/\*.*?\*/)
    |(?P<float>0[fF][0-9a-fA-F]{{8}}\b|0[dD][0-9a-fA-F]{{16}}\b)
    |(?P<decimal>\d+\.\d+\b)
    |(?P<integer>-?(?:0[xX][0-9a-fA-F]{{1,16}}|0|[1-9]\d{{0,19}})U?\b)
    |(?P<name>\.?{_NAME}(?:\.\w+|::\w+)*)
    |(?P<string>"[^"\n]*")
    |(?P<mark>[{{}}()\[\],;:@!+<>|=-])""",
    re.VERBOSE | re.DOTALL | re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Token:
    """``kind`` is ``float``, ``decimal``, ``integer``, ``name``, ``string``, ``mark`` or, after
    the last one, ``end``."""

    kind: str
    text: str
    line: int
    column: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens, and one of kind ``end``. ``PtxError`` at what is none."""
    if len(text) > TEXT_LIMIT:
        raise PtxError(f"more than {TEXT_LIMIT} characters of text", "", 1, 1)
    position, line, start = 0, 1, 0  # of the line
    while position < len(text):
        match = _TOKEN.match(text, position)
        column = position - start + 1
        if match is None:
            raise PtxError(f"unexpected {text[position]!r}", text, line, column)
        if match.lastgroup != "space":
            yield Token(str(match.lastgroup), match[0], line, column)
        elif newlines := match[0].count("\n"):
            line += newlines
            start = position + match[0].rindex("\n") + 1
        position = match.end()
    yield Token("end", "", line, len(text) - start + 1)
