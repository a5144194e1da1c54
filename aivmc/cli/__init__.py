"""The command line: ``aivmc COMMAND …``.

Exit codes: 0 good, 1 a check failed, 2 bad usage or bad input (and 128 + n after signal n, as is
usual). Errors are one message on standard error. ``--json`` puts only JSON on standard output.
"""

from aivmc.cli.app import app as main

__all__ = ["main"]
