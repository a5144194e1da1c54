"""An audit's report as one HTML page, which needs nothing else and runs nothing."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from aivmc.protocol.audit import Group, Report

_PAGE = """<!DOCTYPE html>
<html lang="en">
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>aivmc audit</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem;
  padding: 0 1rem }}
table {{ border-collapse: collapse; width: 100%; margin: .5rem 0 1.5rem }}
th, td {{ border-bottom: 1px solid #ccc; padding: .25rem .75rem .25rem 0; text-align: left;
  vertical-align: top }}
code {{ font-size: 13px; overflow-wrap: anywhere }}
.good {{ color: #17692f }} .bad {{ color: #a3141c; font-weight: bold }}
</style>
<h1>Audit: <span class="{mood}">{verdict}</span></h1>
{body}
</html>
"""


def audit_page(report: Report) -> str:
    """The page; every text of a receipt is escaped."""
    receipts = sum(len(group.answers) for group in report.groups)
    disagree = sum(not group.agrees for group in report.groups)
    verdict = (
        f"{receipts} receipts in {len(report.groups)} groups, {disagree} of which disagree; "
        f"{len(report.refused)} files refused"
    )
    body = "\n".join([*map(_group, report.groups), *_refused(report)])
    return _PAGE.format(mood="good" if report.is_clean else "bad", verdict=verdict, body=body)


def _group(group: Group) -> str:
    mood, word = ("good", "agree") if group.agrees else ("bad", "disagree")
    inputs = ", ".join(f"{n} {t.type} {t.sha256}" for n, t in sorted(group.inputs.items()))
    rows = [
        [digest, answer.signer, f"{answer.target} on {answer.cpu}", answer.file]
        for digest, answers in group.by_outputs.items()
        for answer in answers
    ]
    return (
        f'<h2>{_code(group.kernel)}: <span class="{mood}">{len(group.answers)} {word}</span></h2>\n'
        f"<p>inputs {_code(inputs)}, seed {_code(group.seed)}</p>\n"
        + _table(["outputs", "signer", "target", "file"], rows)
    )


def _refused(report: Report) -> Iterable[str]:
    if report.refused:
        yield "<h2>Refused</h2>"
        yield _table(["file", "reason"], [[r.file, r.reason] for r in report.refused])


def _table(headers: list[str], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{escape(h)}" for h in headers)
    body = "".join(f"<tr>{''.join(f'<td>{_code(cell)}' for cell in row)}\n" for row in rows)
    return f"<table><tr>{head}\n{body}</table>"


def _code(text: str) -> str:
    return f"<code>{escape(text)}</code>"
