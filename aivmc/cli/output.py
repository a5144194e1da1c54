"""What commands print: text for people, or one JSON document and nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

_UNBOUNDED = 10_000  # columns: digests in files and pipes are never folded


@dataclass(frozen=True)
class Result:
    """One check: passed, failed, or (None) not possible or not asked for; and why."""

    check: str
    passed: bool | None
    reason: str


def results_json(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [asdict(result) for result in results]


def print_results(results: Sequence[Result]) -> None:
    """A line for each check."""
    words = {True: "ok", False: "FAILED", None: "skipped"}
    for result in results:
        print_text(f"{words[result.passed]:<8}{result.check}: {result.reason}")


def console() -> Console:
    """Standard output, as it is: no markup, no numbers in colour."""
    out = Console(markup=False, highlight=False, emoji=False)
    if not out.is_terminal:
        out.width = _UNBOUNDED
    return out


def print_json(data: Any) -> None:
    print_text(json.dumps(data, indent=2, ensure_ascii=False))


def print_text(text: str) -> None:
    """Text as it is, with an end of line."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")


def print_table(headers: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console().print(table)


def bytes_text(size: int) -> str:
    """A size for people: 12 B, 3.4 KiB, 102.5 MiB."""
    value, units = float(size), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{size} B" if units[0] == "B" else f"{value:.1f} {units[0]}"
