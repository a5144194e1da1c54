"""One sabotage, or more, of each promise in docs/numerics.md, and what notices it.

A sabotage changes the compiler under a test so that kernels keep every promise but one. What
notices it passes on the compiler as it is. `python -m tests.necessity.sabotages` writes the table
in docs/necessity.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from aivmc.backends.cpu import entry
from aivmc.backends.cpu.schedules import order
from aivmc.ir.ops import _philox, cast, gather, random
from tests.necessity import breaking as broken
from tests.necessity.breaking import Break, changes, defines, emits, rewrites, sets
from tests.necessity.checks import (
    BATCH,
    ENVIRONMENT,
    MULTIPLY_ADD,
    PACKED,
    Check,
    audit,
    vectors,
)

PAGE = Path(__file__).parents[2] / "docs" / "necessity.md"


@dataclass(frozen=True)
class Sabotage:
    clause: int
    text: str  # what kernels do wrong
    apply: Break
    check: Check


SUMS = vectors("reduce_sum", "float32", "float16")
CASTS = vectors("cast", "float64", "float32", "int64")
F8_PRODUCTS = vectors("mul", "float8_e5m2")

_SUM = r"\b(fmul|fadd|fsub) (?=<|float|double)"
_DIVISION = r"\bfdiv (?=<|float|double)"
_leaking = sets(cast, "canonical_nan", lambda emit, x: x)
_flushing = sets(entry._X86, "_DEFAULT", entry._X86._DEFAULT | 0x8040)
_other_blocks = changes("matmul", "block", broken.half_block)
_unequal_blocks = changes("matmul", "block", broken.half_block_of_many_rows)
_last_tie = changes("arg_m", "last", lambda op: not op.attributes["last"])
_in_sequence = changes("reduce_", "order", broken.sequential)
_contracted = rewrites(_SUM, r"\1 contract ")
_contracted_unseen = rewrites(_SUM, r"\1 contract ", unseen=" contract")
_contracted_unaudited = rewrites(_SUM, r"\1 contract ", audited=False)
_approximated = rewrites(_DIVISION, "fdiv arcp afn ")

SABOTAGES = tuple(
    Sabotage(*row)
    for row in (
        (1, "products and sums may be contracted", _contracted, audit("mish")),
        (1, "they are contracted, and their IR doesn't show it", _contracted_unseen, audit("sin")),
        (1, "they are contracted, and nothing is audited", _contracted_unaudited, MULTIPLY_ADD),
        (1, "`fma` rounds twice", emits("fma", broken.split_fma), vectors("fma")),
        (1, "subnormals are flushed to zero", _flushing, vectors("mul")),
        (
            *(1, "the caller's floating-point environment is kept"),
            *(sets(entry._X86, "enter", broken.callers_environment), ENVIRONMENT),
        ),
        (2, "the payload of a NaN leaves the kernel", _leaking, vectors("canonical_nan")),
        (2, "the payload of a NaN becomes an integer", _leaking, vectors("bitcast")),
        (
            *(3, "of two zeros the first is the maximum"),
            *(emits("maximum", broken.zeros_unordered), vectors("maximum")),
        ),
        (
            *(3, "the minimum of NaN and a number is the number"),
            *(emits("minimum", broken.numbers_win), vectors("minimum")),
        ),
        (3, "NaN is less than numbers", emits("lt", broken.unordered_less), vectors("less")),
        (3, "`relu(−0)` is +0", defines("relu", broken.relu_by_maximum), vectors("relu")),
        (4, "float to integer wraps", emits("cast", broken.wrapping_cast), CASTS),
        (4, "NaN to integer is the least", emits("cast", broken.nan_is_least), CASTS),
        (
            *(4, "f64 to f16 is rounded twice, by way of f32"),
            *(emits("cast", broken.f16_by_f32), CASTS),
        ),
        (
            *(4, "i64 to f32 is rounded twice, by way of f64"),
            *(emits("cast", broken.f32_by_f64), CASTS),
        ),
        (
            *(4, "f64 to f8e4m3fn is rounded twice, by way of f16"),
            *(emits("cast", broken.f8_by_f16), CASTS),
        ),
        (4, "beyond f8e4m3fn is its largest number", emits("cast", broken.f8_saturates), CASTS),
        (4, "sums of i4 saturate", emits("cast", broken.i4_saturates), vectors("add", "int4")),
        (4, "x / 0 of integers is x", emits("div", broken.division_by_zero), vectors("div")),
        (
            *(4, "shift counts are taken modulo the width"),
            *(emits("shl", broken.count_modulo_width), vectors("shift_left")),
        ),
        (
            *(5, "the product in an f16 `fma` is rounded to f16"),
            *(defines("fma", broken.narrow_fma, "rounded_scalar"), vectors("fma")),
        ),
        (5, "f8e5m2 is truncated", emits("cast", broken.f8_truncates), F8_PRODUCTS),
        (5, "f16 is summed in f16", broken.narrow_accumulators, SUMS),
        (6, "`exp` is the C library's", defines("exp", broken.library_exp), audit("exp")),
        (6, "`exp` is right to 0.501 ulp only", broken.approximate_exp, vectors("exp")),
        (6, "`rsqrt` is 1 / sqrt in f32", defines("rsqrt", broken.rsqrt_in_f32), vectors("rsqrt")),
        (6, "`exp` of f64 is that of f32", defines("exp", broken.exp_by_f32), vectors("exp")),
        (6, "divisions may be approximated", _approximated, audit("rsqrt")),
        (8, "k is split at other places", _other_blocks, vectors("matmul")),
        (
            *(9, "taps that are zero are skipped, though weights are infinite"),
            *(broken.accumulates(broken.skipping_zeros), vectors("conv")),
        ),
        (9, "+0 is not added at the end", emits("add", broken.zero_not_added), vectors("conv")),
        (10, "sums run from the first to the last", _in_sequence, SUMS),
        (
            *(10, "lanes are combined with their neighbours"),
            *(sets(order, "_merge_vector", broken.neighbouring_lanes), SUMS),
        ),
        (10, "blocks have 1024 elements", sets(order, "BLOCK", 1024), SUMS),
        (10, "ties go to the highest index", _last_tie, vectors("arg_max", "float32")),
        (10, "running sums descend", broken.descending, vectors("cumulative_sum", "float32")),
        (12, "a product of bytes saturates on the way", broken.saturating, vectors("matmul")),
        (12, "a dot product of packed bytes saturates on the way", broken.saturating, PACKED),
        (
            *(13, "indices outside wrap around"),
            *(sets(gather, "wrap_negative", broken.modulo_axis), vectors("gather")),
        ),
        (13, "of duplicate updates the first wins", broken.descending, vectors("scatter_elements")),
        (14, "k is split otherwise where there are more rows", _unequal_blocks, BATCH),
        (
            *(15, "the counter starts anew in each task"),
            *(sets(random, "linearize", broken.place_in_task), vectors("random_bits")),
        ),
        (15, "Philox has nine rounds", sets(_philox, "_ROUNDS", 9), vectors("random_bits")),
    )
)

# What no sabotage of kernels can break.
ELSEWHERE = {
    7: "there are no fast variants",
    11: "decompositions are part of the program, not of code: golden tests in `tests/golden`",
    16: "the seed's way into a kernel is no code of a kernel: `tests/guarantees/test_random.py`",
    17: "the digests in the conformance vectors are those of this clause, and"
    " `tests/backends/test_narrow.py` has every byte as input",
}

_HEAD = """\
# Necessity

Written by `python -m tests.necessity.sabotages`; don't edit.

A promise that no test can see broken is not tested. So for the clauses of [numerics.md](numerics.md) the compiler is sabotaged, one way at a time, and something must notice: [conformance vectors](conformance.md) through a compiled kernel, the audit, or another test. The tests in `tests/necessity` run every line of this table, with and without the sabotage.

| clause | sabotage | what notices |
|---|---|---|
"""  # noqa: E501


def render() -> str:
    """The page."""
    rows = [f"| {s.clause} | {s.text} | {s.check.text} |\n" for s in SABOTAGES]
    others = "".join(f"- Clause {clause}: {why}.\n" for clause, why in ELSEWHERE.items())
    return f"{_HEAD}{''.join(rows)}\nNot in the table:\n\n{others}"


if __name__ == "__main__":
    PAGE.write_text(render(), encoding="utf-8")
