"""``aivmc opt``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from aivmc.cli.arguments import all_plugins
from aivmc.cli.output import print_json, print_text
from aivmc.ir.errors import AivmcError
from aivmc.ir.text import parse, print_module
from aivmc.passes.manager import PrintAfter, run_pipeline
from aivmc.passes.pipelines import parse_pipeline


def run(
    file: Path,
    passes: str,
    print_after: Sequence[str],
    plugin_modules: Sequence[str],
    as_json: bool,
) -> None:
    pipeline = parse_pipeline(passes, all_plugins(plugin_modules))
    module = parse(_read(file), str(file))
    out = sys.stderr if as_json else sys.stdout
    module, ledger = run_pipeline(module, pipeline, PrintAfter(print_after, out.write))
    text = print_module(module)
    if as_json:
        print_json({"program": text, "ledger": ledger.to_json()})
    else:
        print_text(text)


def _read(file: Path) -> str:
    try:
        return sys.stdin.read() if str(file) == "-" else file.read_text("utf-8")
    except UnicodeDecodeError:
        raise AivmcError(f"{file} is not UTF-8 text") from None
    except (OSError, ValueError) as error:
        raise AivmcError(f"cannot read {file}: {error}") from None
