"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from aivmc.ir.errors import AivmcError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends without an exception.

    Until then it lies beside it under another name; after an exception nothing is left of it.
    A link is followed. ``AivmcError`` where the file can't be written.
    """
    final = _destination(path)
    # One more folder entry, not a file in the system's temporary folder: only inside one file
    # system does a rename replace a file in one step.
    partial = final.with_name(f".{final.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with open(partial, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, final)
    except OSError as error:
        raise AivmcError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            partial.unlink()


def _destination(path: str | Path) -> Path:
    try:
        final = Path(path).resolve()
        if final.is_dir():
            raise AivmcError(f"cannot write {path}: it is a folder")
        if final.exists() and not final.is_file():
            raise AivmcError(f"cannot write {path}: it is not an ordinary file")
    except (OSError, ValueError, RuntimeError) as error:  # a name too long, a null byte, a loop
        raise AivmcError(f"cannot write {str(path)!r}: {error}") from None
    return final
