"""The runner: checks around every pass, observers, and the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from aivmc.ir.core import Module, Op
from aivmc.ir.errors import AivmcError, IRError, UnsupportedError
from aivmc.ir.text import parse, print_module
from aivmc.passes.base import Pass
from aivmc.passes.canonicalize import Canonicalize
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.fold_constants import FoldConstants
from aivmc.passes.identity import semantic_digest
from aivmc.passes.manager import (
    DumpDirectory,
    Observer,
    Observers,
    PrintAfter,
    Timing,
    run_pipeline,
)

TEXT = """
module det {
  func @main(%x: f32[2]) -> (y: f32[]) {
    %0 = det.exp(%x) : f32[2]
    %1 = det.neg(%0) : f32[2]
    %2 = det.reduce_sum(%0) {axes = [0], keepdims = false, order = "any"} : f32[]
    return %2
  }
}
"""
PASSES = (Canonicalize(), FixReductionOrder())


@dataclass(frozen=True)
class Broken(Pass):
    """Does what its class says wrong."""

    name: ClassVar[str] = "broken"
    how: str = "order"

    def run(self, module: Module) -> Module:
        main = module.main
        if self.how == "order":
            main.region.ops[:2] = reversed(main.region.ops[:2])
        elif self.how == "stage":
            module.stage = "canonical"
        elif self.how == "run":
            raise UnsupportedError("the model has an op that can't be compiled")
        return module

    def ensures(self, module: Module) -> None:
        if self.how == "ensures":
            raise IRError("the promise is broken")


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("order", r"after pass broken: .*operand 0 is not defined before"),
        ("stage", r"after pass broken\{how=stage\}: .*\n  det.reduce_sum at .* no reduction order"),
        ("ensures", r"after pass broken\{how=ensures\}: the promise is broken"),
    ],
)
def test_a_broken_pass_is_named(how: str, message: str) -> None:
    with pytest.raises(IRError, match=message):
        run_pipeline(parse(TEXT), (Canonicalize(), Broken("" or how)))


def test_a_refusal_is_shown_as_it_is() -> None:
    with pytest.raises(UnsupportedError, match=r"^the model has an op"):
        run_pipeline(parse(TEXT), (Broken("run"),))


def test_an_unmet_requirement() -> None:
    module = parse(TEXT)
    module.stage = "kernel"
    with pytest.raises(IRError, match=r"kernel stage:\n  det.reduce_sum"):
        run_pipeline(module, PASSES)
    ordered = parse(TEXT.replace("any", "seq").replace("module det", "module kernel"))
    with pytest.raises(IRError, match="before pass canonicalize: needs the det or canonical stage"):
        run_pipeline(ordered, PASSES)


def test_ledger() -> None:
    module = parse(TEXT)
    after, ledger = run_pipeline(module, (*PASSES, FoldConstants(limit=3)))
    assert json.loads(json.dumps(ledger.to_json())) == ledger.to_json()
    assert ledger.steps == [
        {"pass": "canonicalize", "version": 1, "options": {}},
        {"pass": "fix-reduction-order", "version": 1, "options": {}},
        {"pass": "fold-constants", "version": 1, "options": {"limit": 3}},
    ]
    first, second, third = ledger.entries
    assert first.before == semantic_digest(module)
    assert third.after == semantic_digest(after)
    # Dropping the dead op means nothing; an order does.
    assert first.before == first.after == second.before != second.after == third.before
    assert (ledger + ledger).entries == ledger.entries * 2


def test_observers(tmp_path: Path) -> None:
    folder, timing = tmp_path / "a" / "b", Timing()
    printed: list[str] = []
    observers = Observers(
        DumpDirectory(folder), PrintAfter(["canonicalize"], printed.append), timing
    )
    module = parse(TEXT)
    after, _ = run_pipeline(module, PASSES, observers)
    run_pipeline(after, (Canonicalize(),), observers)

    dumped = sorted(path.name for path in folder.iterdir())
    assert dumped == [
        "00-input.air",
        "01-canonicalize.air",
        "02-fix-reduction-order.air",
        "03-canonicalize.air",
    ]
    assert (folder / "00-input.air").read_text() == print_module(module)
    assert (folder / "02-fix-reduction-order.air").read_text() == print_module(after)
    assert printed[1] == f"// after canonicalize\n{print_module(after)}"
    assert [name for name, _ in timing.seconds] == [*(p.name for p in PASSES), "canonicalize"]
    assert parse(printed[0]) == Canonicalize().run(module)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AivmcError, match="can't write"):
        run_pipeline(parse(TEXT), PASSES, DumpDirectory(tmp_path / "file" / "folder"))


def test_a_broken_program_is_refused_before_any_pass() -> None:
    module = parse(TEXT)
    module.main.region.ops.append(Op("det.exp", (), {}, ()))
    seen = Observer()
    with pytest.raises(IRError):
        run_pipeline(module, PASSES, seen)
