"""Generating code in a process of its own: the same artifact, the same errors."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from aivmc.backends import build
from aivmc.backends.artifact import Artifact
from aivmc.backends.build import build_artifact, build_artifacts
from aivmc.compiler import canonicalize
from aivmc.ir.core import Module
from aivmc.ir.errors import AivmcError
from aivmc.passes.manager import Observer
from tests.small_model import small_model


class Steps(Observer):
    def __init__(self) -> None:
        self.seen: list[tuple[int, int, str]] = []

    def progress(self, done: int, total: int, what: str) -> None:
        self.seen.append((done, total, what))


@pytest.fixture(scope="module")
def canonical() -> Module:
    return canonicalize(small_model())[0]


def contents(artifact: Artifact) -> object:
    packed = {d: (how, array.tobytes()) for d, (how, array) in artifact.packed.items()}
    return {**vars(artifact), "packed": packed}


def test_it_makes_the_same_artifact(canonical: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = Steps(), Steps()
    expected = build_artifact(canonical, "x86-64-v3", here)
    monkeypatch.setattr(build, "_HEAVY", 0)
    assert contents(build_artifact(canonical, "x86-64-v3", there)) == contents(expected)
    assert there.seen == here.seen
    count = len(here.seen) - 1
    assert [done for done, *_ in here.seen] == list(range(count + 1))
    assert {total for _, total, _ in here.seen} == {count}


def test_targets_share_what_they_both_pack(canonical: Module) -> None:
    one, other = build_artifacts(canonical, ["x86-64-v3", "x86-64-v4"])
    assert one.packed
    for digest, (_, array) in one.packed.items():
        assert other.packed[digest][1] is array


def test_its_errors_are_those_of_the_compiler(
    canonical: Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "_HEAVY", 0)
    with pytest.raises(AivmcError, match="unknown target 'z80'"):
        build_artifact(canonical, "z80")


def test_a_process_that_dies_is_an_error(
    canonical: Module, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(build, "_HEAVY", 0)
    dying = tmp_path / "python"
    dying.write_text("#!/bin/sh\nexit 7\n")
    dying.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(dying))
    with pytest.raises(AivmcError, match="ended with exit status 7"):
        build_artifact(canonical, "x86-64-v3")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nowhere"))
    with pytest.raises(AivmcError, match="can't start a process"):
        build_artifact(canonical, "x86-64-v3")
