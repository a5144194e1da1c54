"""Why an instruction is not on the whitelist, in words."""

from __future__ import annotations

from aivmc.ptx.instructions import SPACES, instructions

_FLOAT = ("f16", "f16x2", "bf16", "bf16x2", "tf32", "f32", "f64")
_ROUNDED = ("add", "sub", "mul", "fma", "mad", "div", "sqrt", "rcp")

_MODIFIERS = {
    "ftz": "flushes subnormals to zero",
    "approx": "is approximate",
    "full": "is approximate",
    "sat": "saturates",
    "satfinite": "saturates",
    "relu": "saturates",
    "rz": "doesn't round to nearest even",
    "rm": "doesn't round to nearest even",
    "rp": "doesn't round to nearest even",
    "rna": "doesn't round to nearest even",
    "volatile": "is for memory that others change",
}
_FAMILIES = {
    **dict.fromkeys(("sin", "cos", "ex2", "lg2", "tanh", "rsqrt"), "is approximate"),
    **dict.fromkeys(("wmma", "mma", "wgmma", "tcgen05"), "adds in no order of ours"),
    **dict.fromkeys(("atom", "red"), "combines in no order of ours"),
    **dict.fromkeys(("call", "brx"), "goes where it can't be followed"),
    **dict.fromkeys(("tex", "tld4", "txq", "suld", "sust", "sured"), "reads by formats of its own"),
    **dict.fromkeys(("shfl", "vote", "match", "redux", "activemask"), "works across a warp"),
    **dict.fromkeys(("membar", "fence"), "orders memory between blocks"),
    **dict.fromkeys(("cp", "mbarrier", "ldmatrix", "stmatrix"), "works apart from its thread"),
}


def refusal(opcode: str) -> str:
    """The message for an opcode that the table doesn't have."""
    reason = _reason(opcode)
    return f"the instruction {opcode[:60]!r} is not allowed" + (f": it {reason}" if reason else "")


def _reason(opcode: str) -> str:
    family, *modifiers = opcode.split(".")
    if family in _FAMILIES:
        return _FAMILIES[family]
    for modifier in modifiers:
        if modifier in _MODIFIERS:
            return _MODIFIERS[modifier]
    if family in _ROUNDED and any(m in _FLOAT for m in modifiers) and "rn" not in modifiers:
        return "doesn't say .rn, so it may be fused with another"
    if family in ("ld", "st") and not {*SPACES, "param"} & set(modifiers):
        return "doesn't say which memory"
    known = {name.split(".")[0] for name in instructions()}
    return "has modifiers or types that are not known" if family in known else ""
