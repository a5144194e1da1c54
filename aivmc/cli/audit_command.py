"""``aivmc audit``."""

from __future__ import annotations

from pathlib import Path

import typer

from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.output import print_json, print_table, print_text
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.atomic import atomic_file
from aivmc.protocol.audit import Group, Report, audit
from aivmc.protocol.audit_page import audit_page

_SHOWN = 16  # digits of a digest, beside others


def run(folder: Path, html: Path | None, as_json: bool) -> None:
    if not folder.is_dir():
        raise AivmcError(f"{folder} is not a folder")
    report = audit(sorted(folder.rglob("*.json")))
    if not report.groups and not report.refused:
        raise AivmcError(f"{folder} holds no receipts: files that end in .json")
    if html is not None:
        with atomic_file(html) as file:
            file.write(audit_page(report).encode())
    if as_json:
        print_json(report.to_json())
    else:
        _print(report)
    if not report.is_clean:
        raise typer.Exit(CHECK_FAILED)


def _print(report: Report) -> None:
    rows = [row for group in report.groups for row in _rows(group)]
    print_table(("kernel", "", "outputs", "signer", "target", "cpu", "file"), rows)
    if report.refused:
        print_table(("refused", "reason"), ((r.file, r.reason) for r in report.refused))
    disagree = sum(not group.agrees for group in report.groups)
    print_text(
        f"{sum(len(g.answers) for g in report.groups)} receipts in {len(report.groups)} groups, "
        f"{disagree} of which disagree; {len(report.refused)} files refused"
    )


def _rows(group: Group) -> list[tuple[str, ...]]:
    """A row for each answer; kernel and verdict stand in the first one."""
    rows = [
        (digest[:_SHOWN], a.signer[:_SHOWN], a.target, a.cpu, a.file)
        for digest, answers in group.by_outputs.items()
        for a in answers
    ]
    verdict = "agree" if group.agrees else "DISAGREE"
    heads = [(group.kernel[: 6 + _SHOWN], verdict), *[("", "")] * (len(rows) - 1)]
    return [head + row for head, row in zip(heads, rows)]
