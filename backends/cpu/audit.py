"""The audit of generated code: what is not on a whitelist does not become machine code.

LLVM IR that passes computes floats only with instructions that IEEE 754 defines to the bit:
no fast-math flag or attribute, no contraction, no approximate or library function, no conversion
that is undefined out of range. What is made of it, :mod:`aivmc.backends.cpu.machine_audit` checks.
See docs/numerics.md, clauses 1 to 4.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aivmc.ir.errors import AivmcError


class AuditError(AivmcError):
    """Generated code with something in it that could change bits: a fault of this compiler."""


@dataclass(frozen=True)
class AuditReport:
    """For each function the number of instructions by opcode, and of intrinsic calls by name.

    Beside these, what lets machine code have something: ``indirect call``; ``mul i8``, of vectors.
    """

    functions: Mapping[str, Mapping[str, int]]

    @property
    def counts(self) -> dict[str, int]:
        """Of all functions, sorted by name."""
        total: Counter[str] = Counter()
        for counts in self.functions.values():
            total.update(counts)
        return dict(sorted(total.items()))

    @property
    def fma(self) -> int:
        return self.counts.get("llvm.fma", 0)

    @property
    def fmul(self) -> int:
        return self.counts.get("fmul", 0)

    @property
    def fadd(self) -> int:
        return self.counts.get("fadd", 0)

    def __add__(self, other: AuditReport) -> AuditReport:
        return AuditReport({**self.functions, **other.functions})


@dataclass(frozen=True)
class _Rules:
    opcodes: frozenset[str]
    intrinsics: frozenset[str]
    float_types: frozenset[str]  # that may appear at all
    indirect_calls: bool


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_CONTROL = _words("br switch ret call unreachable phi select freeze")
_MEMORY = _words("alloca load store getelementptr")
_INTEGER = _words(
    "add sub mul udiv sdiv urem srem shl lshr ashr and or xor icmp trunc zext sext "
    "bitcast ptrtoint inttoptr extractvalue"
)
_VECTOR = _words("extractelement insertelement shufflevector")
# frem is a library call. LLVM computes on f16 what is rounded to f16 from f32: the same bits, for
# f32 has more than twice the digits (Figueroa, "When is double rounding innocuous?", 1995).
_FLOAT_ARITHMETIC = _words("fneg fadd fsub fmul fdiv")
_FLOAT_OTHER = _words("fcmp fptrunc fpext sitofp uitofp")  # fpto[su]i has poison
_ATOMIC = _words("atomicrmw cmpxchg fence")

_KERNEL = _Rules(
    opcodes=_CONTROL | _MEMORY | _INTEGER | _VECTOR | _FLOAT_ARITHMETIC | _FLOAT_OTHER,
    intrinsics=_words(
        # Floats: exact, or correctly rounded, by definition.
        "llvm.fma llvm.sqrt llvm.maximum llvm.minimum llvm.fabs llvm.copysign llvm.floor "
        "llvm.ceil llvm.trunc llvm.rint llvm.nearbyint llvm.roundeven llvm.fptosi.sat "
        "llvm.fptoui.sat llvm.is.fpclass llvm.x86.avx512.mask.vcvtph2ps.512 "
        "llvm.x86.avx512.permvar.df.512 "
        # Of every order of elements the same.
        "llvm.vector.reduce.fmaximum llvm.vector.reduce.fminimum "
        # In the order of the elements, without the flag that would let LLVM choose.
        "llvm.vector.reduce.fadd llvm.vector.reduce.fmul "
        # Integers.
        "llvm.abs llvm.smax llvm.smin llvm.umax llvm.umin llvm.ctpop llvm.ctlz llvm.cttz "
        "llvm.bswap llvm.bitreverse llvm.fshl llvm.fshr llvm.sadd.sat llvm.ssub.sat "
        "llvm.uadd.sat llvm.usub.sat llvm.sadd.with.overflow llvm.ssub.with.overflow "
        "llvm.uadd.with.overflow llvm.usub.with.overflow llvm.smul.with.overflow "
        "llvm.umul.with.overflow llvm.vp.add llvm.vp.sub llvm.vp.mul llvm.scmp llvm.ucmp "
        "llvm.vector.reduce.add llvm.vector.reduce.mul llvm.vector.reduce.and "
        "llvm.vector.reduce.or llvm.vector.reduce.xor llvm.vector.reduce.smax "
        "llvm.vector.reduce.smin llvm.vector.reduce.umax llvm.vector.reduce.umin "
        # Products of integers, summed modulo 2^32. (vpdpbusds, vpdpwssds and pmaddubsw saturate.)
        "llvm.x86.sse2.pmadd.wd llvm.x86.avx2.pmadd.wd llvm.x86.avx512.pmaddw.d.512 "
        "llvm.x86.avx512.vpdpbusd.512 llvm.x86.avx512.vpdpwssd.512 "
        "llvm.nvvm.idp4a.s.s llvm.nvvm.idp4a.s.u llvm.nvvm.idp4a.u.s llvm.nvvm.idp4a.u.u "
        # Memory and hints.
        "llvm.memcpy llvm.memmove llvm.memset llvm.masked.load llvm.masked.store "
        "llvm.masked.gather llvm.masked.scatter llvm.vector.extract llvm.vector.insert "
        "llvm.prefetch llvm.lifetime.start llvm.lifetime.end llvm.assume llvm.expect "
        "llvm.experimental.noalias.scope.decl "
        # Threads of a GPU's block wait for each other.
        "llvm.nvvm.barrier.cta.sync.aligned.all"
    ),
    float_types=_words("half bfloat float double"),
    indirect_calls=False,
)
_ENTRY = _Rules(
    opcodes=_CONTROL | _MEMORY | _INTEGER | _ATOMIC,
    intrinsics=_words(
        "llvm.x86.sse.stmxcsr llvm.x86.sse.ldmxcsr llvm.x86.sse2.pause "
        "llvm.aarch64.get.fpcr llvm.aarch64.set.fpcr llvm.aarch64.hint "
        "llvm.get.rounding llvm.set.rounding llvm.riscv.pause"
    ),
    float_types=frozenset(),
    indirect_calls=True,
)

_ALL_FLOAT_TYPES = _words("half bfloat float double x86_fp80 fp128 ppc_fp128 x86_amx")
_FAST_MATH = _words("fast nnan ninf nsz arcp contract afn reassoc")
_STRING_ATTRIBUTES = frozenset(["target-cpu", "target-features"])

_INSTRUCTION = re.compile(
    r'^\s+(?:%(?:"[^"]*"|[\w.$-]+) = )?(?:(?:tail|musttail|notail) )?([a-z]\w*)\b(.*)'
)
_LABEL = re.compile(r'^(?:"[^"]*"|[\w.$-]+):')
_SWITCH_CASE = re.compile(r"^\s+(?:i\d+ -?\d+, label %\S+|\])")
_DEFINED = re.compile(r'^define [^@]*@("[^"]*"|[\w.$-]+)\(', re.MULTILINE)
_BYTES = re.compile(r"<\d+ x i8>")
_CALLEE = re.compile(r'@("[^"]*"|[\w.$-]+)\(')
_SYMBOL = re.compile(r'[%@!#]"[^"]*"|[%@!#][\w.$-]+|c?"[^"]*"')
_TYPE_SUFFIX = re.compile(r"(?:\.(?:nxv|v)?\d*(?:i\d+|f\d+|bf16|p\d+))+$")
_MODULE_LINE = re.compile(
    r"^(?:;.*|source_filename = .*|target (?:datalayout|triple) = .*|!.*|"
    r"@\S+ = (?:(?:private|internal|unnamed_addr|local_unnamed_addr|dso_local) )*constant .*)?$"
)


def audit_ir(text: str, externals: Collection[str] = ()) -> AuditReport:
    """Check a module of kernel functions, as LLVM prints it; ``externals`` are the functions
    outside of it that it may call. ``AuditError`` quotes the first line that is not allowed."""
    return _audit(text, externals, _KERNEL)


def audit_entry(text: str, externals: Collection[str]) -> AuditReport:
    """Check an entry module: integers, pointers, atomics and the floating-point environment only;
    ``externals`` are the kernel functions that it calls."""
    return _audit(text, externals, _ENTRY)


def _audit(text: str, externals: Collection[str], rules: _Rules) -> AuditReport:
    functions: dict[str, Counter[str]] = {}
    callable_names = set(_DEFINED.findall(text)) | set(externals)
    counts: Counter[str] = Counter()
    inside = False
    for line in text.splitlines():
        if inside:
            inside = line != "}"
            if inside:
                _audit_body_line(line, callable_names, rules, counts)
        elif defined := _DEFINED.match(line):
            _require_types(line, rules)
            counts = functions.setdefault(defined[1].strip('"'), Counter())
            inside = True
        else:
            _audit_module_line(line, callable_names, rules)
    return AuditReport(functions)


def _audit_module_line(line: str, callable_names: set[str], rules: _Rules) -> None:
    if line.startswith("declare "):
        _require_callee(line, callable_names, rules)
    elif line.startswith("attributes "):
        unknown = set(re.findall(r'"([^"]+)"(?:="[^"]*")?', line)) - _STRING_ATTRIBUTES
        if unknown or re.search(r"\b(?:strictfp|denormal\w*)\b", line):
            raise _refusal("attribute", line)
    elif not _MODULE_LINE.match(line):
        raise _refusal("module-level construct", line)


def _audit_body_line(
    line: str, callable_names: set[str], rules: _Rules, counts: Counter[str]
) -> None:
    if not line or line.startswith(";") or _LABEL.match(line) or _SWITCH_CASE.match(line):
        return
    match = _INSTRUCTION.match(line)
    if match is None:
        raise _refusal("line", line)
    opcode, rest = match[1], match[2]
    if opcode not in rules.opcodes:
        raise _refusal(f"instruction {opcode}", line)
    words = set(re.findall(r"[A-Za-z_]\w*", _SYMBOL.sub(" ", rest)))
    if words & _FAST_MATH or "!fpmath" in rest:
        raise _refusal("fast-math flag", line)
    if words & (_ALL_FLOAT_TYPES - rules.float_types):
        raise _refusal("type", line)
    if opcode in _FLOAT_ARITHMETIC and "bfloat" in words:
        raise _refusal("bf16 arithmetic", line)
    counts[opcode] += 1
    callee = _require_call(line, callable_names, rules) if opcode == "call" else None
    if callee is not None:
        counts[callee] += 1
    if (callee or opcode) in ("mul", "llvm.vp.mul") and _BYTES.search(rest):
        counts["mul i8"] += 1


def _require_call(line: str, callable_names: set[str], rules: _Rules) -> str | None:
    """The intrinsic that an allowed call names, or ``indirect call``; ``None`` for another
    function."""
    if re.search(r"\basm\b", _SYMBOL.sub(" ", line)):
        raise _refusal("inline assembly", line)
    if _CALLEE.search(line) is None:
        if rules.indirect_calls:
            return "indirect call"
        raise _refusal("indirect call", line)
    return _require_callee(line, callable_names, rules)


def _require_callee(line: str, callable_names: set[str], rules: _Rules) -> str | None:
    match = _CALLEE.search(line)
    if match is None:
        raise _refusal("declaration", line)
    if match[1] in callable_names:
        return None
    name = _TYPE_SUFFIX.sub("", match[1])
    if name not in rules.intrinsics:
        raise _refusal(f"function {name}", line)
    return name


def _require_types(line: str, rules: _Rules) -> None:
    words = set(re.findall(r"[A-Za-z_]\w*", _SYMBOL.sub(" ", line)))
    if words & (_ALL_FLOAT_TYPES - rules.float_types):
        raise _refusal("type", line)


def _refusal(what: str, line: str) -> AuditError:
    return AuditError(f"generated code has a {what} that is not allowed: {line.strip()[:200]}")
