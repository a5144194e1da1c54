"""Every sabotage is noticed, by what passes without it; and every clause is accounted for."""

from __future__ import annotations

import re

import pytest

from tests.necessity.checks import Check
from tests.necessity.sabotages import ELSEWHERE, PAGE, SABOTAGES, Sabotage, render

CHECKS = list({s.check.text: s.check for s in SABOTAGES}.values())


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.text)
def test_the_compiler_as_it_is(check: Check) -> None:
    check.run()


@pytest.mark.parametrize("sabotage", SABOTAGES, ids=lambda s: f"{s.clause}: {s.text}")
def test_noticed(sabotage: Sabotage, monkeypatch: pytest.MonkeyPatch) -> None:
    sabotage.apply(monkeypatch)
    with pytest.raises(sabotage.check.notices):
        sabotage.check.run()


def test_every_clause_is_accounted_for() -> None:
    numerics = PAGE.with_name("numerics.md").read_text(encoding="utf-8")
    clauses = {int(n) for n in re.findall(r"^\*\*(\d+)\.", numerics, re.MULTILINE)}
    assert {s.clause for s in SABOTAGES} | set(ELSEWHERE) == clauses
    assert not {s.clause for s in SABOTAGES} & set(ELSEWHERE)


def test_the_page_is_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()
