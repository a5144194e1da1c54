"""Coefficients of the elementary functions, lowest first; made by generate_coefficients."""

from __future__ import annotations


def _doubles(text: str) -> tuple[float, ...]:
    return tuple(map(float.fromhex, text.split()))


# 2^x
EXP2 = _doubles("""
    0x1.0000000000000p+0 0x1.62e42fefa3a17p-1 0x1.ebfbdff82c466p-3 0x1.c6b08d703d5c5p-5
    0x1.3b2ab6fbd00bap-7 0x1.5d87fe9ca4f56p-10 0x1.4309127e6b1dap-13 0x1.ffcb563c1bb84p-17
    0x1.62c11ed8ecef2p-20 0x1.b673c7455f4a0p-24 0x1.e3e88897e9eb2p-28
""")

# 2^x, searched for sigmoid
EXP2_SIGMOID = _doubles("""
    0x1.0000000000000p+0 0x1.62e42fefa3a17p-1 0x1.ebfbdff82c4a6p-3 0x1.c6b08d703d5efp-5
    0x1.3b2ab6fbd0117p-7 0x1.5d87fe9ca4fa1p-10 0x1.4309127e6b170p-13 0x1.ffcb563c1bc2ap-17
    0x1.62c11ed8ecfc0p-20 0x1.b673c7455f3c2p-24 0x1.e3e88897e9dd1p-28
""")

# 2^x for |x| <= 1/16, searched for exp
EXP2_EIGHTH = _doubles("""
    0x1.0000000000000p+0 0x1.62e42fefa3b68p-1 0x1.ebfbdff82e50bp-3 0x1.c6b08d56037d8p-5
    0x1.3b2ab71b8c611p-7 0x1.5d8efd7eae5dap-10 0x1.43067e9870555p-13
""")

# (2^x - 1) / x
EXP2M1_9 = _doubles("""
    0x1.62e42fefa39f7p-1 0x1.ebfbdff82c53ap-3 0x1.c6b08d704413fp-5 0x1.3b2ab6fbb58eep-7
    0x1.5d87fe907f830p-10 0x1.430912c2758d0p-13 0x1.ffcb76b9c9e61p-17 0x1.62c091e9f451dp-20
    0x1.b656d4f04ac98p-24 0x1.e4b536c079704p-28
""")

# (2^x - 1) / x
EXP2M1_10 = _doubles("""
    0x1.62e42fefa39efp-1 0x1.ebfbdff82c598p-3 0x1.c6b08d704a1aap-5 0x1.3b2ab6fba1ee7p-7
    0x1.5d87fe7880e73p-10 0x1.4309130938c61p-13 0x1.ffcbfcfd8d79bp-17 0x1.62bfd50251bd2p-20
    0x1.b523e5a6e3371p-24 0x1.e605519c9941cp-28 0x1.eb4b8fe89ba6dp-32
""")

# log(1 + x) / x
LOG1P = _doubles("""
    0x1.0000000000000p+0 -0x1.ffffffffffff1p-2 0x1.55555555551aep-2 -0x1.0000000001b06p-2
    0x1.9999999a31ea5p-3 -0x1.55555553efcf7p-3 0x1.249248e005919p-3 -0x1.00000016efb7cp-3
    0x1.c71c8fa15c29fp-4 -0x1.9999b460e3480p-4 0x1.74598b86b9761p-4 -0x1.554ed3a314f38p-4
    0x1.3b4fe2daa95bap-4 -0x1.25369702ff73cp-4 0x1.0f05e108762b5p-4 -0x1.ef99b91243b43p-5
    0x1.ec3b8b01a9a66p-5 -0x1.15d959862c139p-4 0x1.fdc12daee71fcp-5 -0x1.c13016f3c0f50p-6
""")

# atanh(s) / s in s^2
ATANH = _doubles("""
    0x1.0000000000000p+0 0x1.55555555538a8p-2 0x1.999999a2b6a41p-3 0x1.2492416517b37p-3
    0x1.c722812301a44p-4 0x1.732b1d4a27064p-4 0x1.5882f6a3b3789p-4
""")

# sin(pi s) / s in s^2
SIN_PI = _doubles("""
    0x1.921fb54442d18p+1 -0x1.4abbce625be39p+2 0x1.466bc67759fccp+1 -0x1.32d2cce5e672ep-1
    0x1.5078346abc4f5p-4 -0x1.e30741ab21987p-8 0x1.e8f025cf567e3p-12 -0x1.6f05956a92cb7p-16
    0x1.8face9bd32c30p-21
""")

# sin(pi s) / s in s^2, searched for cos
SIN_PI_FOR_COS = _doubles("""
    0x1.921fb54442d18p+1 -0x1.4abbce625be3ap+2 0x1.466bc67759fc9p+1 -0x1.32d2cce5e672fp-1
    0x1.5078346abc4ebp-4 -0x1.e30741ab2197dp-8 0x1.e8f025cf567f0p-12 -0x1.6f05956a92cb2p-16
    0x1.8face9bd32c3ap-21
""")

# sin(pi/2 s) / s in s^2
SIN_HALF_PI = _doubles("""
    0x1.921fb54442d18p+0 -0x1.4abbce625be09p-1 0x1.466bc67754ff6p-4 -0x1.32d2ccdfe8322p-8
    0x1.50782d5db2cc5p-13 -0x1.e2fe757eff788p-19 0x1.e3575bc26e83ep-25
""")

# cos(pi/2 s) in s^2
COS_HALF_PI = _doubles("""
    0x1.0000000000000p+0 -0x1.3bd3cc9be45dep+0 0x1.03c1f081b5a67p-2 -0x1.55d3c7e3c325dp-6
    0x1.e1f5067b91386p-11 -0x1.a6d1e72a037cbp-16 0x1.f9c89d7127e96p-22 -0x1.b16782d3c560fp-28
""")

# atan(s) / s in s^2
ATAN = _doubles("""
    0x1.0000000000000p+0 -0x1.5555555551e60p-2 0x1.999999935fa10p-3 -0x1.2492472ea060fp-3
    0x1.c71bd5c0232b8p-4 -0x1.744f461542c21p-4 0x1.3a54a2338d812p-4 -0x1.0a9b0314349fcp-4
    0x1.9c54aab99db5dp-5 -0x1.a0821e4a25918p-6
""")

# asin(s) / s in s^2
ASIN = _doubles("""
    0x1.0000000000000p+0 0x1.5555555555399p-3 0x1.333333336d0c6p-4 0x1.6db6db438bf1dp-5
    0x1.f1c72bdb3836fp-6 0x1.6e89fd4d337acp-6 0x1.1c6b575742ac4p-6 0x1.c70876a6faec0p-7
    0x1.8e7ce7411bf40p-7 0x1.ae2946e023fb2p-8 0x1.3e5cdb419b902p-6 -0x1.075a900920452p-6
    0x1.04975b21c9536p-5
""")

# erf(s) / s in s^2 / ERF_SCALE - 1, searched
ERF = _doubles("""
    0x1.6fc14a09a4d25p-2 -0x1.6f422007510d6p-3 0x1.1184b571f7460p-3 -0x1.bde9f7783f277p-4
    0x1.72e43fb0cb1f2p-4 -0x1.2fe7f6c2bc438p-4 0x1.dfe8d8939cfb3p-5 -0x1.68148419dd92fp-5
    0x1.fd5ae58c4167dp-6 -0x1.5240e2f3c5a97p-6 0x1.a547819d5dfa0p-7 -0x1.ec34eaec067e0p-8
    0x1.0e1d165e5b2a4p-8 -0x1.17084da3783c6p-9 0x1.0fe0ed146bffdp-10 -0x1.f4fb45dc8e272p-12
    0x1.b5a17dc9de68dp-13 -0x1.6a8b3ce26733ep-14 0x1.1c68747b5b442p-15 -0x1.ae3289864a3a3p-17
    0x1.41c6c18e587f8p-18 -0x1.af7bfaee2d7bfp-20 0x1.bede05d5e6377p-22 -0x1.3cc867ab09387p-23
    0x1.6f3211a65fe72p-24 -0x1.82eb0ed2e7f39p-26
""")

# exp(a^2/2) erfc(a/sqrt 2) / 2 in (a - 4) / (a + 4), searched
GELU_TAIL = _doubles("""
    0x1.82b4bb8c94db5p-4 -0x1.5cf97b0ae8821p-3 0x1.fd751a1fba31bp-4 -0x1.25b6aa9656f73p-4
    0x1.f9b05f0f09a4dp-6 -0x1.1644dc30bcb6cp-7 0x1.0a1bd3f0a4800p-11 0x1.4eec262462399p-11
    -0x1.888dc1194b81dp-13 -0x1.7e2513a70dda1p-15 0x1.e0a1495cf1e61p-16 0x1.36ea611eca489p-18
    -0x1.209b4368d0a72p-18 -0x1.bf0d09a6ae2d5p-21 0x1.5e1b097ec8ff4p-21 0x1.be501d6d26d49p-23
    -0x1.50088c3d60562p-24 -0x1.8f57e3b1b4fb2p-25 -0x1.f8b0be1392f09p-30 0x1.07cb1292aea3ep-29
""")

# 2^(j/8) for j = 0 to 7, searched for exp
EIGHTHS = _doubles("""
    0x1.0000000000000p+0 0x1.172b83c7d517bp+0 0x1.306fe0a31b715p+0 0x1.4bfdad5362a27p+0
    0x1.6a09e667f3bcdp+0 0x1.8ace5422aa0dap+0 0x1.ae89f995ad3b1p+0 0x1.d5818dcfba483p+0
""")

# 1 / pi in chunks of 26 bits
INVERSE_PI = _doubles("""
    0x1.45f3070000000p-2 -0x1.1b1bbf0000000p-29 0x1.4a7f0a0000000p-55 -0x1.505c160000000p-82
    0x1.a6ee060000000p-108 0x1.b6295a0000000p-133
""")

# 1 / pi less the chunks before
INVERSE_PI_REST = _doubles("""
    0x1.45f306dc9c883p-2 -0x1.1b1bbead603d9p-29 0x1.4a7f09d5f47d5p-55 -0x1.505c1596447e5p-82
    0x1.a6ee06db14acdp-108 0x1.b6295993c4390p-133
""")

# 2 / pi in chunks of 26 bits
TWO_OVER_PI = _doubles("""
    0x1.45f3070000000p-1 -0x1.1b1bbf0000000p-28 0x1.4a7f0a0000000p-54 -0x1.505c160000000p-81
    0x1.a6ee060000000p-107 0x1.b6295a0000000p-132
""")

# 2 / pi less the chunks before
TWO_OVER_PI_REST = _doubles("""
    0x1.45f306dc9c883p-1 -0x1.1b1bbead603d9p-28 0x1.4a7f09d5f47d5p-54 -0x1.505c1596447e5p-81
    0x1.a6ee06db14acdp-107 0x1.b6295993c4390p-132
""")
