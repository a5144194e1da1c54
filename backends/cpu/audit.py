"""The audit of generated code: what is not on a whitelist does not become machine code.

LLVM IR that passes computes floats only with instructions that IEEE 754 defines to the bit:
no fast-math flag or attribute, no contraction, no approximate or library function, no conversion
that is undefined out of range. The object made from it may call ``memcpy`` and its kin, nothing
else. See docs/numerics.md, clauses 1 to 4.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from aivmc.ir.errors import AivmcError


class AuditError(AivmcError):
    """Generated code with something in it that could change bits: a fault of this compiler."""


@dataclass(frozen=True)
class AuditReport:
    """Number of instructions by opcode, and of intrinsic calls by name, sorted by name."""

    counts: dict[str, int]

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
        total = Counter(self.counts) + Counter(other.counts)
        return AuditReport(dict(sorted(total.items())))


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
        # Of every order of elements the same.
        "llvm.vector.reduce.fmaximum llvm.vector.reduce.fminimum "
        # Integers.
        "llvm.abs llvm.smax llvm.smin llvm.umax llvm.umin llvm.ctpop llvm.ctlz llvm.cttz "
        "llvm.bswap llvm.bitreverse llvm.fshl llvm.fshr llvm.sadd.sat llvm.ssub.sat "
        "llvm.uadd.sat llvm.usub.sat llvm.sadd.with.overflow llvm.ssub.with.overflow "
        "llvm.uadd.with.overflow llvm.usub.with.overflow llvm.smul.with.overflow "
        "llvm.umul.with.overflow llvm.vp.add llvm.vp.sub llvm.vp.mul llvm.scmp llvm.ucmp "
        "llvm.vector.reduce.add llvm.vector.reduce.mul llvm.vector.reduce.and "
        "llvm.vector.reduce.or llvm.vector.reduce.xor llvm.vector.reduce.smax "
        "llvm.vector.reduce.smin llvm.vector.reduce.umax llvm.vector.reduce.umin "
        # Memory and hints.
        "llvm.memcpy llvm.memmove llvm.memset llvm.masked.load llvm.masked.store "
        "llvm.masked.gather llvm.masked.scatter llvm.vector.extract llvm.vector.insert "
        "llvm.prefetch llvm.lifetime.start llvm.lifetime.end llvm.assume llvm.expect "
        "llvm.experimental.noalias.scope.decl"
    ),
    float_types=_words("half bfloat float double"),
    indirect_calls=False,
)
_ENTRY = _Rules(
    opcodes=_CONTROL | _MEMORY | _INTEGER | _ATOMIC,
    intrinsics=_words("llvm.x86.sse.stmxcsr llvm.x86.sse.ldmxcsr llvm.x86.sse2.pause"),
    float_types=frozenset(),
    indirect_calls=True,
)

_ALL_FLOAT_TYPES = _words("half bfloat float double x86_fp80 fp128 ppc_fp128 x86_amx")
_FAST_MATH = _words("fast nnan ninf nsz arcp contract afn reassoc")
_STRING_ATTRIBUTES = frozenset(["target-cpu", "target-features"])
_OBJECT_IMPORTS = frozenset(["memcpy", "memmove", "memset"])

_INSTRUCTION = re.compile(
    r'^\s+(?:%(?:"[^"]*"|[\w.$-]+) = )?(?:(?:tail|musttail|notail) )?([a-z]\w*)\b(.*)'
)
_LABEL = re.compile(r'^(?:"[^"]*"|[\w.$-]+):')
_SWITCH_CASE = re.compile(r"^\s+(?:i\d+ -?\d+, label %\S+|\])")
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


def audit_object(code: bytes) -> None:
    """Check that an ELF64 object needs only the memory functions of the C library: LLVM may turn
    an innocent instruction into a call (``fma`` without the instruction, f64 to f16)."""
    imports = sorted(set(_undefined_symbols(code)) - _OBJECT_IMPORTS)
    if imports:
        raise AuditError(f"the object calls outside functions: {', '.join(imports)}")


def _audit(text: str, externals: Collection[str], rules: _Rules) -> AuditReport:
    counts: Counter[str] = Counter()
    defined = set(re.findall(r'^define [^@]*@("[^"]*"|[\w.$-]+)\(', text, re.MULTILINE))
    callable_names = defined | set(externals)
    inside = False
    for line in text.splitlines():
        if inside:
            inside = line != "}"
            if inside:
                _audit_body_line(line, callable_names, rules, counts)
        elif line.startswith("define "):
            _require_types(line, rules)
            inside = True
        else:
            _audit_module_line(line, callable_names, rules)
    return AuditReport(dict(sorted(counts.items())))


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
    if opcode == "call":
        name = _require_call(line, callable_names, rules)
        if name:
            counts[name] += 1


def _require_call(line: str, callable_names: set[str], rules: _Rules) -> str | None:
    """The intrinsic that an allowed call names; ``None`` for another function."""
    if re.search(r"\basm\b", _SYMBOL.sub(" ", line)):
        raise _refusal("inline assembly", line)
    if _CALLEE.search(line) is None:
        if rules.indirect_calls:
            return None
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


def _undefined_symbols(code: bytes) -> Iterator[str]:
    """Names of the undefined symbols of a little-endian ELF64 object (System V gABI, chapter 4)."""
    if code[:6] != b"\x7fELF\x02\x01":
        raise AuditError("generated code is not a little-endian ELF64 object")
    (sections_at,) = struct.unpack_from("<Q", code, 40)
    size, count = struct.unpack_from("<HH", code, 58)
    # Elf64_Shdr: name, type, flags, addr, offset, size, link, info, addralign, entsize.
    headers = [
        struct.unpack_from("<IIQQQQIIQQ", code, sections_at + i * size) for i in range(count)
    ]
    for header in headers:
        if header[1] != 2:  # SHT_SYMTAB
            continue
        names_at = headers[header[6]][4]
        for at in range(header[4], header[4] + header[5], 24):
            # Elf64_Sym: name, info, other, section (0: undefined), value, size.
            name, _, _, section, _, _ = struct.unpack_from("<IBBHQQ", code, at)
            if name and section == 0:
                start = names_at + name
                yield code[start : code.index(b"\0", start)].decode()
