"""A matrix product as a GPU computes it, by hand: C = A B with tiles in shared memory.

Blocks of 8 x 8 threads, one element of C each; A is M x K, B is K x N, all multiples of 8. Each
element is one chain of fused multiply-adds from +0, k ascending. ``(c - 1) * 2`` is stored, so that
there is more arithmetic to break.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from tests.ptx import isa
from tests.ptx.text import kernel, lines, module

_SETUP = lines(
    ".shared .align 16 .b8 pad[16]; .shared .align 16 .b8 tile_a[256];"
    ".shared .align 16 .b8 tile_b[256];"
    # Parameters: A, B, C, N, K.
    "ld.param.u64 %d0, [p0]; ld.param.u64 %d1, [p1]; ld.param.u64 %d2, [p2];"
    "cvta.to.global.u64 %d0, %d0; ld.param.u32 %r0, [p3]; ld.param.u32 %r1, [p4];"
    "mov.u32 %r2, %tid.x; mov.u32 %r3, %tid.y; mov.u32 %r4, %ctaid.x; mov.u32 %r5, %ctaid.y;"
    "shl.b32 %r6, %r4, 3; add.s32 %r6, %r6, %r2; shl.b32 %r7, %r5, 3; add.s32 %r7, %r7, %r3;"
    # This thread's element of the first tiles of A and B, and of C.
    "mad.lo.s32 %r8, %r7, %r1, %r2; mul.wide.u32 %d3, %r8, 4; add.s64 %d3, %d0, %d3;"
    "mad.lo.s32 %r9, %r3, %r0, %r6; mul.wide.u32 %d4, %r9, 4; add.s64 %d4, %d1, %d4;"
    "mad.lo.s32 %r10, %r7, %r0, %r6; mul.wide.u32 %d5, %r10, 4; add.s64 %d5, %d2, %d5;"
    "mul.wide.u32 %d6, %r0, 32;"  # eight rows of B
    "shl.b32 %r11, %r3, 3; add.s32 %r11, %r11, %r2; mul.wide.u32 %d7, %r11, 4;"
    "mov.u64 %d8, tile_a; add.s64 %d9, %d8, %d7; mov.u64 %d10, tile_b; add.s64 %d11, %d10, %d7;"
    # This thread's row of A's tile and column of B's.
    "mul.wide.u32 %d12, %r3, 32; add.s64 %d12, %d8, %d12;"
    "mul.wide.u32 %d13, %r2, 4; add.s64 %d13, %d10, %d13;"
    "mov.b32 %r12, 0f00000000; mov.u32 %r13, 0"
)
_LOOP = lines(
    "loop: ld.global.f32 %r14, [%d3]; ld.global.f32 %r15, [%d4]; st.shared.f32 [%d9], %r14;"
    "st.shared.f32 [%d11], %r15; bar.sync 0;"
    "ld.shared.v4.f32 {%r16, %r17, %r18, %r19}, [%d12];"
    "ld.shared.v4.f32 {%r20, %r21, %r22, %r23}, [%d12+16]"
)
_PRODUCTS = "".join(
    lines(f"ld.shared.f32 %r24, [%d13+{32 * k}]; fma.rn.f32 %r12, %r{16 + k}, %r24, %r12")
    for k in range(8)
)
_END = lines(
    "bar.sync 0; add.s64 %d3, %d3, 32; add.s64 %d4, %d4, %d6; add.s32 %r13, %r13, 8;"
    "setp.lt.u32 %p1, %r13, %r1; @%p1 bra loop; sub.rn.f32 %r25, %r12, 0f3F800000;"
    "mul.rn.f32 %r26, %r25, 0f40000000; st.global.f32 [%d5], %r26; ret"
)

MATMUL = module(
    kernel(
        _SETUP + _LOOP + _PRODUCTS + _END,
        ("u64", "u64", "u64", "u32", "u32"),
        block=".reqntid 8, 8",
        name="matmul",
    )
)


def expected(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> bytes:
    """C's bytes, by exact arithmetic."""
    rows, columns = (x.view(np.uint32).tolist() for x in (a, b.T.copy()))
    one, two = (isa.nearest(Fraction(x), "f32") for x in (1, 2))
    result = []
    for row in rows:
        for column in columns:
            total = 0
            for x, y in zip(row, column, strict=True):
                total = isa.fma(x, y, total, "f32")
            result.append(isa.mul(isa.sub(total, one, "f32"), two, "f32"))
    return np.array(result, np.uint32).tobytes()
