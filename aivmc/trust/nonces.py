"""Nonces that were seen, in a file: a request or receipt counts once."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from aivmc.trust.errors import MalformedError, TrustError
from aivmc.trust.request import Request

_TABLE = "CREATE TABLE IF NOT EXISTS seen (nonce BLOB PRIMARY KEY, expires INTEGER) WITHOUT ROWID"
_PATIENCE = 10  # seconds that another process may hold the file


def use_nonce(path: str | Path, request: Request, now: int) -> None:
    """Note, as the node that answers it, a request's nonce in the file, made if it isn't there.

    ``TrustError`` where the request has expired at ``now``, in seconds since 1970, or its nonce was
    used before. Nonces of expired requests are forgotten: the requests are refused without them.
    """
    request.check_time(now)
    _note(path, request.nonce, request.expires, now)


def note_answer(path: str | Path, request: Request, signer: bytes) -> None:
    """Note, as who checks receipts, that ``signer`` answered; ``TrustError`` where it had before.

    Nothing is forgotten, since receipts may be checked at any time.
    """
    _note(path, request.nonce + signer, request.expires, 0)


def _note(path: str | Path, key: bytes, expires: int, now: int) -> None:
    try:
        with closing(sqlite3.connect(path, timeout=_PATIENCE)) as file, file:
            file.execute(_TABLE)
            file.execute("DELETE FROM seen WHERE expires < ?", (now,))
            file.execute("INSERT INTO seen VALUES (?, ?)", (key, expires))
    except sqlite3.IntegrityError:
        raise TrustError("the nonce was used before: this is a replay") from None
    except (sqlite3.Error, ValueError) as error:
        raise MalformedError(f"cannot keep nonces in {str(path)!r}: {error}") from None
