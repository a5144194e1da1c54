"""Constants of the double-float functions, all f32; made by generate_coefficients."""

from __future__ import annotations

_f32 = float.fromhex

# 1 / log 2
LOG2_E = _f32("0x1.715476p+0")

# log 2 in parts of 16, 16 and 24 bits
LN_2_PARTS = (
    _f32("0x1.62e400p-1"),
    _f32("0x1.7f7e00p-20"),
    _f32("-0x1.c610cap-37"),
)

# log 2 as a pair
LN_2 = (
    _f32("0x1.62e430p-1"),
    _f32("-0x1.05c610p-29"),
)

# (e^r - 1 - r - r^2/2) / r^3: the first coefficients as pairs
EXP_PAIRS = (
    (_f32("0x1.555556p-3"), _f32("-0x1.55521cp-28")),
    (_f32("0x1.555556p-5"), _f32("-0x1.46fff0p-30")),
    (_f32("0x1.111112p-7"), _f32("-0x1.f6dd9ap-32")),
)

# the others
EXP_REST = (
    _f32("0x1.6c1686p-10"),
    _f32("0x1.a01a2ap-13"),
    _f32("0x1.a112eap-16"),
    _f32("0x1.721eccp-19"),
)

# 2 sqrt(2/pi) as a pair
GELU_LINEAR = (
    _f32("0x1.988454p+0"),
    _f32("-0x1.857936p-25"),
)

# 0.044715 times that
GELU_CUBIC = (
    _f32("0x1.2444f2p-4"),
    _f32("0x1.49b16ap-29"),
)
