"""Reading JSON documents of strangers: one meaning each, or a clear refusal.

No floats, no integers from 2^53 on, no key twice, no unknown key, valid UTF-8: so that every
implementation reads the same and RFC 8785 has a form for it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any, NoReturn, TypeAlias

import rfc8785

from aivmc.trust.errors import MalformedError

Json: TypeAlias = Any  # what json.loads gives

LONGEST = 1 << 24  # bytes
_INTEGER_DIGITS = 16  # of 2^53
_HEX = re.compile(r"([0-9a-f]{2})*")
_SHOWN = 40


def parse(data: bytes, what: str) -> Json:
    """The value of a JSON document; ``MalformedError`` names ``what`` it should be, and why not."""
    if len(data) > LONGEST:
        raise MalformedError(f"the {what} is longer than {LONGEST} bytes")
    try:
        value = json.loads(
            data.decode("utf-8"),
            object_pairs_hook=_object,
            parse_float=_no_number,
            parse_int=_integer,
            parse_constant=_no_number,
        )
        json.dumps(value, ensure_ascii=False).encode("utf-8")  # a lone surrogate has no UTF-8
    except RecursionError:
        raise MalformedError(f"the {what} is nested too deeply") from None
    except (ValueError, MalformedError) as error:
        raise MalformedError(f"the {what} is not valid JSON: {error}") from None
    return value


def canonical(value: Json) -> bytes:
    """The bytes of a document in the form of RFC 8785."""
    return rfc8785.dumps(value)


def parse_canonical(data: bytes, what: str) -> Json:
    """As :func:`parse`, of a document that must be in the form of RFC 8785."""
    value = parse(data, what)
    if canonical(value) != data:
        raise MalformedError(f"the {what} is not in canonical form (RFC 8785)")
    return value


def members(
    value: Json, what: str, required: Collection[str], optional: Collection[str] = ()
) -> dict[str, Json]:
    """``value``, known to be an object with these keys and no others."""
    if not isinstance(value, dict):
        raise MalformedError(f"the {what} is not a JSON object")
    for key in required:
        if key not in value:
            raise MalformedError(f"the {what} has no {key!r}")
    for key in value:
        if key not in required and key not in optional:
            raise MalformedError(f"the {what} has an unknown {key[:_SHOWN]!r}")
    return value


def text(value: Json, what: str, pattern: str = r".*") -> str:
    """``value``, known to be a string of this form."""
    if not isinstance(value, str) or not re.fullmatch(pattern, value, re.DOTALL):
        raise MalformedError(f"the {what} is not valid: {str(value)[:_SHOWN]!r}")
    return value


def hex_bytes(value: Json, size: int | None, what: str) -> bytes:
    """The bytes of a string of lower-case hex digits, ``size`` of them if that is given."""
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise MalformedError(f"the {what} is not in lower-case hex")
    data = bytes.fromhex(value)
    if size is not None and len(data) != size:
        raise MalformedError(f"the {what} is {size} bytes, not {len(data)}")
    return data


def natural(value: Json, what: str) -> int:
    """``value``, known to be an integer from 0 to 2^53 - 1."""
    if type(value) is not int or value < 0:
        raise MalformedError(f"the {what} is not a natural number: {str(value)[:_SHOWN]!r}")
    return value


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(f"the key {twice[:_SHOWN]!r} is there twice")
    return found


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > _INTEGER_DIGITS or abs(int(digits)) >= 1 << 53:
        raise MalformedError(f"the number {digits[:_SHOWN]} is too large: integers end at 2^53")
    if digits.startswith("-0"):
        raise MalformedError("the number -0 is no integer")
    return int(digits)


def _no_number(digits: str) -> NoReturn:
    raise MalformedError(f"the number {digits[:_SHOWN]} is not an integer")
