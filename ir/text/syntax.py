"""From text to its syntax tree.

:func:`read` is total: text that isn't a program gives a :class:`Diagnostic` that says what could
have stood there.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from lark import Lark, UnexpectedInput
from lark.lexer import PatternStr

from aivmc.ir.diagnostics import Diagnostic
from aivmc.ir.text.tree import Fault, ModuleNode, TreeBuilder

TEXT_LIMIT = 64 << 20  # characters
NESTING_LIMIT = 100  # brackets within brackets


def read(text: str, file: str) -> ModuleNode:
    """The syntax tree of a module. ``Diagnostic`` where the text isn't one."""
    _check_size(text, file)
    try:
        module: ModuleNode = _parser()[0].parse(text)
        return module
    except Fault as fault:
        raise fault.diagnostic(text, file) from None
    except UnexpectedInput as error:
        raise _unexpected(error, text, file) from None


_BRACKET = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[ \t\r][^\n]*|->|[(\[{<]|[)\]}>]')


def _check_size(text: str, file: str) -> None:
    if len(text) > TEXT_LIMIT:
        raise Diagnostic(f"more than {TEXT_LIMIT} characters of text", "", 1, 1, file)
    depth = 0
    for match in _BRACKET.finditer(text):
        if match[0] in "([{<":
            depth += 1
        elif match[0] in ")]}>":
            depth -= 1
        if depth > NESTING_LIMIT:
            line = text.count("\n", 0, match.start()) + 1
            column = match.start() - text.rfind("\n", 0, match.start())
            raise Diagnostic(f"more than {NESTING_LIMIT} nested brackets", text, line, column, file)


@cache
def _parser() -> tuple[Lark, dict[str, str]]:
    """The parser, and each terminal in words."""
    grammar = files(__package__).joinpath("grammar.lark").read_text("utf-8")
    lark = Lark(grammar, parser="lalr", transformer=TreeBuilder(), maybe_placeholders=True)
    words = {
        t.name: f"'{t.pattern.value}'" for t in lark.terminals if isinstance(t.pattern, PatternStr)
    }
    return lark, words | _WORDS


_WORDS = {
    "$END": "the end of the text",
    "VALUE": "a value such as %0",
    "FUNCTION": "a function name such as @main",
    "OP": "an op name",
    "NAME": "a name",
    "STRING": "a quoted string",
    "DTYPE": "a dtype such as f32",
    "SHA256": "sha256: and 64 hex digits",
    "FLOAT": "a float",
    "INT": "an integer",
    "BITS": "a float's bits such as 0x7fc00000",
    "FLOORDIV": "'//'",
}


def _unexpected(error: UnexpectedInput, text: str, file: str) -> Diagnostic:
    token = getattr(error, "token", None)
    if token is not None and token.type == "$END":
        end = text.rstrip()
        line, column = end.count("\n") + 1, len(end) - end.rfind("\n")
        reason = f"the text ends too early; expected {_expected(text, None)}"
        return Diagnostic(reason, text, line, column, file)
    found = str(token) if token is not None else text[error.pos_in_stream or 0]
    shown = found if len(found) <= 40 else found[:40] + "…"
    reason = f"unexpected {shown!r}; expected {_expected(text, error.pos_in_stream)}"
    return Diagnostic(reason, text, error.line, error.column, file)


def _expected(text: str, position: int | None) -> str:
    """What could stand at the position of the first error (None: at the end), in words.

    The parser has made reductions when it meets the error, and forgotten alternatives; so go there
    again and ask just before.
    """
    lark, words = _parser()
    parser = lark.parse_interactive(text)
    try:
        for token in parser.lexer_thread.lex(parser.parser_state):
            if token.start_pos == position:
                break
            parser.feed_token(token)
    except UnexpectedInput:
        pass
    accepted: set[str] = parser.accepts()
    if {"FLOAT", "STRING"} <= accepted:
        return "an attribute's value"
    return _listing(words[name] for name in accepted)


def _listing(words: Iterable[str]) -> str:
    unique = sorted(set(words))
    return " or ".join(filter(None, [", ".join(unique[:-1]), *unique[-1:]]))
