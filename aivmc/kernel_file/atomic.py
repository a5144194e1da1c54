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
def atomic_file(path: str | Path, mode: int = 0o666, replace: bool = True) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends without an exception.

    Until then it lies beside it under another name; after an exception nothing is left of it.
    A link is followed. ``mode`` are its permissions, less the process's umask. ``AivmcError`` where
    the file can't be written, or without ``replace`` exists.
    """
    final = _destination(path)
    if not replace and final.exists():
        raise AivmcError(f"{path} exists: remove it first, or name another file")
    # One more folder entry, not a file in the system's temporary folder: only inside one file
    # system does a rename replace a file in one step.
    partial = final.with_name(f".{final.name[:100]}.{secrets.token_hex(8)}.part")
    try:
        with open(partial, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(partial, final)
        else:
            os.link(partial, final)  # which fails where another process was quicker
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
