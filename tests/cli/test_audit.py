"""``aivmc audit``: a fleet's receipts, with one node that lies."""

from __future__ import annotations

import base64
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from aivmc.protocol.execution import Execution, Session, Tensor
from aivmc.protocol.receipt import write_receipt
from aivmc.trust.envelope import seal
from aivmc.trust.keys import PrivateKey
from tests.cli.harness import aivmc_cli, good, good_json, refused
from tests.protocol.test_execution import BEACON, X, kernel, proof, request

EVIL = PrivateKey(b"e" * 32)
KEYS = [PrivateKey(bytes([n]) * 32) for n in range(4)]


@cache
def execution(seed: int = 0, factor: int = 1) -> Execution:
    return Session(kernel("input").file).execute({"x": X * factor}, seed=bytes([seed]) * 32)


def lie(done: Execution) -> Execution:
    return replace(done, outputs={"y": Tensor("f32[6]", "00" * 32)})


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """Four nodes on one task, two on another, in folders."""
    for i, key in enumerate(KEYS):
        (tmp_path / f"node{i}").mkdir()
        (tmp_path / f"node{i}" / "r.json").write_bytes(write_receipt(execution(), key))
    for i in (0, 1):
        receipt = write_receipt(execution(seed=1), KEYS[i])
        (tmp_path / f"node{i}" / "other.json").write_bytes(receipt)
    return tmp_path


def found(code: int, folder: Path) -> Any:
    result = aivmc_cli("audit", folder, "--json")
    assert result.exit_code == code, result.output
    data = json.loads(result.stdout)
    assert data["clean"] == (code == 0)
    return data


def test_a_fleet_that_agrees(fleet: Path) -> None:
    data = good_json("audit", fleet)
    assert data == found(0, fleet)
    assert sorted(len(o["answers"]) for g in data["groups"] for o in g["outputs"]) == [2, 4]
    assert all(g["agrees"] for g in data["groups"])
    assert data["refused"] == []
    signers = {a["signer"] for g in data["groups"] for o in g["outputs"] for a in o["answers"]}
    assert signers == {key.public.hex() for key in KEYS}
    assert "6 receipts in 2 groups, 0 of which disagree; 0 files refused" in good("audit", fleet)


def test_who_disagrees(fleet: Path) -> None:
    (fleet / "node2" / "r.json").write_bytes(write_receipt(lie(execution()), KEYS[2]))
    first, second = found(1, fleet)["groups"]
    assert (first["agrees"], second["agrees"]) == (False, True)
    right, wrong = first["outputs"]
    assert [a["signer"] for a in wrong["answers"]] == [KEYS[2].public.hex()]
    assert len(right["answers"]) == 3
    result = aivmc_cli("audit", fleet)
    assert result.exit_code == 1
    (row,) = [line for line in result.stdout.splitlines() if "node2" in line]
    assert KEYS[2].public.hex()[:16] in row
    assert "DISAGREE" in result.stdout


def test_other_tasks_are_other_groups(fleet: Path) -> None:
    more = [execution(factor=2), Session(kernel("fixed").file).execute({"x": X})]
    asked = [request(nonce=bytes([n]) * 32) for n in (1, 2)]
    more += [Session(kernel().file).execute({"x": X}, proof=proof(r)) for r in asked]
    for i, done in enumerate(more):
        (fleet / f"{i}.json").write_bytes(write_receipt(done, KEYS[0]))
    data = found(0, fleet)
    assert len(data["groups"]) == 2 + len(more)
    assert len({(g["kernel"], json.dumps(g["inputs"]), g["seed"]) for g in data["groups"]}) == 6
    assert len(BEACON) == 32


def test_what_is_refused(fleet: Path) -> None:
    session = Session(kernel().file)
    once = session.execute({"x": X}, proof=proof(request()))
    for name in ("a", "b"):
        (fleet / f"{name}.json").write_bytes(write_receipt(once, KEYS[0]))
    (fleet / "c.json").write_bytes(write_receipt(once, KEYS[1]))
    (fleet / "late.json").write_bytes(
        write_receipt(replace(once, time=request().expires + 1), KEYS[3])
    )
    damaged = bytearray((fleet / "node0" / "r.json").read_bytes())
    damaged[100] ^= 1
    (fleet / "damaged.json").write_bytes(damaged)
    (fleet / "none.json").write_text("{}")
    reasons = {Path(r["file"]).stem: r["reason"] for r in found(1, fleet)["refused"]}
    assert set(reasons) == {"b", "late", "damaged", "none"}
    assert "a replay" in reasons["b"]
    assert "expired 1 s ago" in reasons["late"]
    assert "has no 'payload'" in reasons["none"]


def test_folders_without_receipts(tmp_path: Path) -> None:
    assert "holds no receipts" in refused(2, "audit", tmp_path)
    assert "is not a folder" in refused(2, "audit", tmp_path / "missing")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.tags: set[str] = set()

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.add(tag)


def test_the_page(fleet: Path, tmp_path: Path) -> None:
    receipt = json.loads(
        base64.b64decode(json.loads(write_receipt(lie(execution()), EVIL))["payload"])
    )
    receipt["predicate"]["node"]["cpu"] = "<script>alert(1)</script>"
    folder = fleet / 'a"><img src=x>'
    folder.mkdir()
    (folder / "r.json").write_bytes(seal(receipt, EVIL))
    page = tmp_path / "report.html"
    assert aivmc_cli("audit", fleet, "--html", page).exit_code == 1
    text = page.read_text("utf-8")
    parsed = _Texts()
    parsed.feed(text)
    assert not {"script", "img", "link"} & parsed.tags
    assert not re.search(r"(src|href)=", re.sub(r"<code>.*?</code>", "", text))
    shown = "".join(parsed.texts)
    assert "on <script>alert(1)</script>" in shown
    assert "1 of which disagree" in shown
    for group in found(1, fleet)["groups"]:
        assert group["kernel"] in shown
        assert set(_digests(group)) <= set(re.findall(r"[0-9a-f]{64}", shown))
    shutil.rmtree(folder)
    good("audit", fleet, "--html", page)
    assert "0 of which disagree" in page.read_text("utf-8")


def _digests(group: Any) -> Iterator[str]:
    for output in group["outputs"]:
        yield output["digest"]
        yield from (answer["signer"] for answer in output["answers"])
