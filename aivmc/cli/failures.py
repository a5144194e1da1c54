"""How a command that can't do its work ends: one message and an exit code, never a traceback."""

from __future__ import annotations

import os
import sys
import traceback
from typing import Any

import typer
from typer.core import TyperGroup

from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.errors import IntegrityError
from aivmc.runtime.errors import NodeError
from aivmc.trust.errors import TrustError

CHECK_FAILED = 1
BAD_INPUT = 2
_SIGINT = 130
_SIGPIPE = 141

_TRACEBACK = "AIVMC_TRACEBACK"


class GuardedCommands(TyperGroup):
    """Commands whose exceptions become messages and exit codes."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except BrokenPipeError:
            # Whoever read our output has gone; nothing may be written at exit either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(_SIGPIPE) from None
        except KeyboardInterrupt:
            raise _failure("interrupted", _SIGINT) from None
        except MemoryError:
            raise _failure("there is not enough memory for this", BAD_INPUT) from None
        except AivmcError as error:
            failed = isinstance(error, IntegrityError | NodeError | TrustError)
            raise _failure(str(error), CHECK_FAILED if failed else BAD_INPUT) from None
        except OSError as error:
            raise _failure(str(error), BAD_INPUT) from None
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("typer", "click"):
                raise  # exits, and bad usage
            raise _fault(error) from None


def _failure(message: str, code: int) -> typer.Exit:
    print(f"error: {message}", file=sys.stderr)
    return typer.Exit(code)


def _fault(error: Exception) -> typer.Exit:
    """Of ours, not of the user."""
    if os.environ.get(_TRACEBACK):
        traceback.print_exception(error)
    reason = f"{type(error).__name__}: {error}"
    hint = f"please report it; {_TRACEBACK}=1 shows where it happened"
    return _failure(f"aivmc itself failed: {reason} ({hint})", BAD_INPUT)
