"""Each `tests/golden/<pass>/<case>.air` through its pass gives exactly the `.expect.air` beside it,
which is sound, prints as it reads, and computes the same bits where the pass promises that.

A first line `// pass: name{option=value}` runs the pass with options.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from aivmc.ir.core import Module
from aivmc.ir.interpret import interpret
from aivmc.ir.text import parse, print_module
from aivmc.ir.verify import verify
from aivmc.passes.manager import run_pipeline
from aivmc.passes.pipelines import ALL_PASSES, parse_pipeline

GOLDEN = Path(__file__).parent.parent / "golden"
CASES = sorted(
    path
    for pass_type in ALL_PASSES
    for path in (GOLDEN / pass_type.name).glob("*.air")
    if not path.name.endswith(".expect.air")
)
KEEP_BITS = (
    *("canonicalize", "fold-constants", "infer-types", "canonical-nan"),
    "separate-zero-points",
)


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_golden(path: Path, golden) -> None:
    text = path.read_text()
    header = text.splitlines()[0]
    step = header.removeprefix("// pass: ") if "// pass: " in header else path.parent.name
    before = parse(text, path.name)
    written = print_module(before)

    after, _ = run_pipeline(before, parse_pipeline(step))

    assert print_module(before) == written, "the pass changed its input"
    printed = print_module(after)
    golden(path.with_suffix(".expect.air"), printed)
    verify(after)
    assert parse(printed) == after
    assert print_module(parse(printed)) == printed
    if step != "legalize":  # which leaves the only stage that it takes
        again, _ = run_pipeline(after, parse_pipeline(step))
        assert again == after, "the pass is not idempotent"
    if path.parent.name in KEEP_BITS and is_runnable(before):
        assert_same_bits(before, after)


def is_runnable(module: Module) -> bool:
    return not any(op.attributes.get("order") == "any" for op in module.walk())


def assert_same_bits(before: Module, after: Module) -> None:
    """Equal outputs for special and random values, NaNs being one value."""
    inputs = special_inputs(before)
    expected, got = interpret(before, inputs), interpret(after, inputs)
    for name in expected:
        a, b = (np.where(x != x, 0, x) for x in (expected[name], got[name]))
        assert a.tobytes() == b.tobytes(), name
        assert (np.isnan(expected[name]) == np.isnan(got[name])).all(), name


def special_inputs(module: Module) -> dict[str, np.ndarray]:
    """Zeros of both signs, infinities, NaN and subnormals; every symbol is 2."""
    special = [0.0, -0.0, 1.0, np.inf, -np.inf, np.nan, 1e-45, -3.5e38]
    rng = np.random.default_rng(0)
    out = {}
    for value in module.main.inputs:
        shape = tuple(d if isinstance(d, int) else 2 for d in value.tensor.shape)
        drawn = (
            rng.choice(special, shape) if value.tensor.dtype.is_float else rng.integers(0, 2, shape)
        )
        with np.errstate(over="ignore"):
            out[value.name] = np.asarray(drawn).astype(value.tensor.dtype.numpy)
    return out
