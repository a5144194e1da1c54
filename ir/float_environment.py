"""NumPy's arithmetic is IEEE 754's default one only where the process has not changed that.

A host may have set another rounding mode, or flush subnormals to zero; the reference semantics,
hence folded constants, would follow it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_DEFAULT = ctypes.c_void_p(-1)  # FE_DFL_ENV
_SIZE = 256  # at least that of fenv_t, which is 32 bytes on x86-64


@contextmanager
def default_float_environment() -> Iterator[None]:
    """The default environment on this thread, within the block or the decorated function."""
    libm, saved = _libm(), ctypes.create_string_buffer(_SIZE)
    libm.fegetenv(saved)
    libm.fesetenv(_DEFAULT)
    try:
        yield
    finally:
        libm.fesetenv(saved)


@cache
def _libm() -> ctypes.CDLL:
    return ctypes.CDLL(None)
