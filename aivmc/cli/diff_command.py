"""``aivmc diff``."""

from __future__ import annotations

from pathlib import Path

import typer

from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.output import print_json, print_text
from aivmc.kernel_file.comparison import Difference, differences
from aivmc.kernel_file.reader import KernelFile, open_kernel

_SHOWN_LINES = 60  # of each part


def run(a_path: Path, b_path: Path, as_json: bool) -> None:
    a, b = open_kernel(a_path), open_kernel(b_path)
    found = differences(a, b)
    same_semantics = a.manifest.semantic == b.manifest.semantic
    if as_json:
        parts = [{"part": d.part, "a": d.a, "b": d.b, "diff": list(d.lines)} for d in found]
        print_json(
            {
                "a": a.identity,
                "b": b.identity,
                "same": a.identity == b.identity,
                "same_semantics": same_semantics,
                "differences": parts,
            }
        )
    else:
        _print(a, b, found, same_semantics)
    if a.identity != b.identity:
        raise typer.Exit(CHECK_FAILED)


def _print(a: KernelFile, b: KernelFile, found: list[Difference], same_semantics: bool) -> None:
    if a.identity == b.identity:
        print_text(f"the same kernel: {a.identity}")
        return
    print_text(f"a: {a.identity}\nb: {b.identity}")
    print_text(
        "They have the same semantics, so they give the same bits."
        if same_semantics
        else "They have other semantics."
    )
    for difference in found:
        print_text(f"\n{difference.part}: {difference.a or 'absent'} -> {difference.b or 'absent'}")
        for line in difference.lines[:_SHOWN_LINES]:
            print_text(f"  {line}")
        if len(difference.lines) > _SHOWN_LINES:
            print_text(f"  … {len(difference.lines) - _SHOWN_LINES} more lines (--json has all)")
