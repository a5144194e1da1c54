"""Coefficients of the functions on f64, lowest first; made by generate_coefficients."""

from __future__ import annotations


def _doubles(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


def _words(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


# (e^r - 1 - r) / r^2
EXP = _doubles("""
    0x1.0000000000000p-1 0x1.5555555555557p-3 0x1.5555555555551p-5 0x1.111111111004ap-7
    0x1.6c16c16c19291p-10 0x1.a01a01ac23ee1p-13 0x1.a01a01943c269p-16 0x1.71de019521c18p-19
    0x1.27e5093bdc303p-22 0x1.af4f038e6a239p-26 0x1.1f2515ce5a1d3p-29
""")

# (2 atanh(s/2) / s - 1 - s^2/12) / s^4 in s^2
LOG = _doubles("""
    0x1.999999999999ap-7 0x1.2492492492205p-9 0x1.c71c71c7b45fcp-12 0x1.745d16c6e10b1p-14
    0x1.3b13e982b5d28p-16 0x1.1102e4907e8d8p-18 0x1.e5f5c260f34ecp-21 0x1.5ee8cf76ae7b8p-23
    0x1.08a108f24acc5p-23
""")

# (sin(r) / r - 1) / r^2 in r^2
SIN = _doubles("""
    -0x1.5555555555555p-3 0x1.1111111111020p-7 -0x1.a01a019fe934fp-13 0x1.71de3a11784a8p-19
    -0x1.ae63fa0a9c872p-26 0x1.60e7526c68b4ep-33 -0x1.8e2b7e2bd67dep-41
""")

# (cos(r) - 1 + r^2/2) / r^4 in r^2
COS = _doubles("""
    0x1.5555555555555p-5 -0x1.6c16c16c168c5p-10 0x1.a01a019f36db1p-16 -0x1.27e4fa0108b1cp-22
    0x1.1eeb55d9cba90p-29 -0x1.907215634ab85p-37
""")

# (atan(t) / t - 1) / t^2 in t^2
ATAN = _doubles("""
    -0x1.5555555555555p-2 0x1.9999999999814p-3 -0x1.2492492481bb0p-3 0x1.c71c71bc9c2cep-4
    -0x1.745d15659c324p-4 0x1.3b137bdff5899p-4 -0x1.110d2a736056fp-4 0x1.e17ed4a405d19p-5
    -0x1.abc9518cdf356p-5 0x1.7209982c04b78p-5 -0x1.149cbd8b81aeap-5 0x1.faf3b35956ee3p-7
""")

# (asin(s) / s - 1) / s^2 in s^2
ASIN = _doubles("""
    0x1.5555555555556p-3 0x1.3333333332dedp-4 0x1.6db6db6e400d7p-5 0x1.f1c71c17086cep-6
    0x1.6e8bb2a85f39ep-6 0x1.1c4d239fd1eb3p-6 0x1.c9d0f368eb5e2p-7 0x1.7814e37db7296p-7
    0x1.52ace16dbf561p-7 0x1.6240809a0668dp-8 0x1.1f526fedeaf42p-6 -0x1.ed60fbb191835p-7
    0x1.d9644c6c883d8p-6
""")

# erf(x) / x - 1 in x^2
ERF = _doubles("""
    0x1.06eba8214db68p-3 -0x1.812746b0379bep-2 0x1.ce2f21a041063p-4 -0x1.b82ce311ff4b1p-6
    0x1.565bccf6655c5p-8 -0x1.c02daed3922c9p-11 0x1.f9a26e0106922p-14 -0x1.f4c1433c88912p-17
    0x1.b8dc032cfd876p-20 -0x1.5515e39c4073bp-23 0x1.83b4a64dbf738p-27
""")

# (1 + t) e^(t^2/2) erfc(t/sqrt 2) / 2 in (t - 4) / (t + 4)
GAUSS_TAIL = _doubles("""
    0x1.e361ea6fba141p-2 -0x1.8c18f2086e34dp-4 0x1.cabd72a60fd8ap-7 0x1.d4969f10e055fp-6
    -0x1.07c3c2582efc7p-5 0x1.25dd7205f5d0fp-6 -0x1.47d5fc72aa7cbp-8 -0x1.2b7f5dd8b5ee2p-12
    0x1.6c53828209a8dp-11 -0x1.8c11b66603315p-14 -0x1.707b9abdd5036p-14 0x1.648445bb41b51p-16
    0x1.c93cfeda0ea20p-17 -0x1.ccaa0ebae38d0p-19 -0x1.5eaa7c664854fp-19 0x1.b261e7a633d09p-22
    0x1.282a04c32c569p-21 0x1.6ec530fef0c7fp-30 -0x1.db672cbd8e278p-24 -0x1.536d33241e283p-26
    0x1.2c7a4b6c9d918p-26 0x1.a6afa7c09d212p-28 -0x1.9e6ad6b998a34p-30 -0x1.a504c3c30d10bp-31
""")

# log 2, the first part short
LOG_2 = _doubles("""
    0x1.62e42ff000000p-1 -0x1.718432a1b0e26p-35
""")

# log10 2, the first part short
LOG10_2 = _doubles("""
    0x1.3441350a00000p-2 -0x1.0c0219dc1da99p-39
""")

# 1 / log 2
LOG2_E = _doubles("""
    0x1.71547652b82fep+0 0x1.777d0ffda0d24p-56
""")

# 1 / log 10
LOG10_E = _doubles("""
    0x1.bcb7b1526e50ep-2 0x1.95355baaafad3p-57
""")

# 1 / 12
TWELFTH = _doubles("""
    0x1.5555555555555p-4 0x1.5555555555555p-58
""")

# pi / 2
HALF_PI = _doubles("""
    0x1.921fb54442d18p+0 0x1.1a62633145c07p-54
""")

# pi / 4
QUARTER_PI = _doubles("""
    0x1.921fb54442d18p-1 0x1.1a62633145c07p-55
""")

# pi
PI = _doubles("""
    0x1.921fb54442d18p+1 0x1.1a62633145c07p-53
""")

# sqrt(8 / pi)
GELU_LINEAR = _doubles("""
    0x1.9884533d43651p+0 -0x1.cbc0d30ebfd15p-54
""")

# 0.044715 sqrt(8 / pi)
GELU_CUBIC = _doubles("""
    0x1.2444f2a4d8b4bp-4 -0x1.6c843a29d1c70p-61
""")

# The bits of 2 / pi after 55 zeros, in words of 64
TWO_OVER_PI = _words("""
    0x0000000000000145 0xf306dc9c882a53f8 0x4eafa3ea69bb81b6 0xc52b3278872083fc
    0xa2c757bd778ac36e 0x48dc74849ba5c00c 0x925dd413a32439fc 0x3bd63962534e7dd1
    0x046bea5d768909d3 0x38e04d68befc8273 0x23ac7306a673e939 0x08bf177bf250763f
    0xf12fffbc0b301fde 0x5e2316b414da3eda 0x6cfd9e4f96136e9e 0x8c7ecd3cbfd45aea
    0x4f758fd7cbe2f67a 0x0e73ef14a525d4d7 0xf6bf623f1aba10ac 0x06608df8f6d757e1
""")
