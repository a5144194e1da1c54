"""PTX text to a :class:`Module`: the subset that LLVM's NVPTX backend emits for our kernels.

Whatever else PTX has (functions, globals, textures, debug sections) is refused with
its place. What the opcodes mean, :mod:`aivmc.ptx.verify` checks.
"""

from __future__ import annotations

from collections.abc import Callable

from aivmc.ptx.errors import PtxError
from aivmc.ptx.gpus import OLDEST, VERSIONS
from aivmc.ptx.lexer import Token, tokens
from aivmc.ptx.syntax import (
    BITS,
    Address,
    Guard,
    Instruction,
    Kernel,
    Literal,
    Module,
    Operand,
    Parameter,
    Place,
    Register,
    Symbol,
    Variable,
    Vector,
    end_of,
)

MOST_REGISTERS = 1 << 17  # of a kernel
MOST_SHARED = 48 << 10  # bytes a block can have without being configured for more
MOST_LOCAL = 16 << 10  # bytes that a thread can have here
MOST_THREADS = 1024  # of a block
MOST_PARAMETER_BYTES = 4096

_ALIGNMENTS = (1, 2, 4, 8, 16, 32, 64, 128)


def parse(text: str, gpu: str = OLDEST) -> Module:
    """The module that ``text`` is, for ``gpu``. ``PtxError`` where it isn't one."""
    return _Parser(text).module(gpu)


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = tokens(text)
        self.token = next(self._tokens)

    def module(self, gpu: str) -> Module:
        header = ((".version", VERSIONS[gpu]), (".target", gpu), (".address_size", "64"))
        for directive, value in header:
            self.keyword(directive)
            self.keyword(value)
        kernels: dict[str, Kernel] = {}
        while self.token.kind != "end":
            self.keyword(".visible")
            self.keyword(".entry")
            at = self.token
            kernel = _KernelParser(self).kernel()
            if kernel.name in kernels:
                raise self.error(f"a second kernel {kernel.name!r}", at)
            kernels[kernel.name] = kernel
        if not kernels:
            raise self.error("the module has no kernel")
        return Module(self.text, kernels)

    # Tokens

    def error(self, reason: str, token: Token | None = None) -> PtxError:
        token = token or self.token
        return PtxError(reason, self.text, token.line, token.column)

    def advance(self) -> Token:
        token = self.token
        if token.kind != "end":
            self.token = next(self._tokens)
        return token

    def take(self, kind: str, what: str) -> Token:
        if self.token.kind != kind:
            raise self.unexpected(what)
        return self.advance()

    def unexpected(self, wanted: str) -> PtxError:
        if self.token.kind == "end":
            return self.error(f"the text ends too early; expected {wanted}")
        return self.error(f"unexpected {self.token.text[:40]!r}; expected {wanted}")

    def keyword(self, text: str) -> Token:
        if self.token.text != text:
            raise self.unexpected(repr(text))
        return self.advance()

    def accept(self, text: str) -> bool:
        if self.token.text != text or self.token.kind not in ("mark", "name"):
            return False
        self.advance()
        return True

    def name(self, what: str, dotted: bool = False) -> Token:
        """A name; ``dotted`` ones may have parts that follow dots."""
        text = self.token.text
        if text.startswith(".") or (not dotted and ("." in text or ":" in text)):
            raise self.unexpected(what)
        return self.take("name", what)

    def number(self, what: str, low: int, high: int) -> int:
        token = self.take("integer", what)
        value = integer(token.text)
        if not low <= value <= high:
            raise self.error(f"{what} must be {low} to {high}", token)
        return value

    def type(self) -> str:
        token = self.take("name", "a type")
        if token.text[0] != "." or token.text[1:] not in BITS:
            raise self.error(f"unknown type {token.text[:40]!r}", token)
        return token.text[1:]

    def alignment(self) -> int:
        token = self.token
        alignment = self.number("an alignment", 1, 128)
        if alignment not in _ALIGNMENTS:
            raise self.error("an alignment must be a power of two", token)
        return alignment


class _KernelParser:
    """Parses one entry, from its name on."""

    def __init__(self, parser: _Parser) -> None:
        self.parser = parser
        self.parameters: list[Parameter] = []
        self.block: tuple[int, int, int] | None = None
        self.most_threads: int | None = None
        self.registers: dict[str, str] = {}
        self.shared: list[Variable] = []
        self.local: list[Variable] = []
        self.scope: dict[str, str] | None = None  # in braces: registers of its own, by name
        self.labels: dict[str, int] = {}
        self.instructions: list[Instruction] = []

    def kernel(self) -> Kernel:
        name = self.parser.name("a kernel's name")
        if self.parser.accept("("):
            self._list(self._parameter, ")")
        while self.parser.token.text != "{":
            self._performance_directive()
        self.parser.keyword("{")
        while not self.parser.accept("}"):
            self._statement()
        if not self.instructions:
            raise self.parser.error(f"the kernel {name.text!r} has no instructions", name)
        return Kernel(
            name.text,
            Place(name.line, name.column),
            tuple(self.parameters),
            self.block,
            self.most_threads,
            self.registers,
            tuple(self.shared),
            tuple(self.local),
            self.labels,
            tuple(self.instructions),
        )

    def _list(self, element: Callable[[], object], end: str) -> None:
        if self.parser.accept(end):
            return
        element()
        while not self.parser.accept(end):
            self.parser.keyword(",")
            element()

    def _parameter(self) -> None:
        self.parser.keyword(".param")
        at = self.parser.token
        kind = self.parser.type()
        if BITS[kind] < 8 or kind == "f16":
            raise self.parser.error(f"a parameter of type {kind}", at)
        if self.parser.accept(".ptr"):
            self.parser.accept(".global")
            self.parser.keyword(".align")
            self.parser.alignment()
        name = self.parser.name("a parameter's name")
        self._new(name)
        size = BITS[kind] // 8
        end = max((p.offset + BITS[p.type] // 8 for p in self.parameters), default=0)
        offset = -(-end // size) * size
        if offset + size > MOST_PARAMETER_BYTES:
            raise self.parser.error(f"more than {MOST_PARAMETER_BYTES} bytes of parameters", name)
        self.parameters.append(Parameter(name.text, kind, offset))

    def _performance_directive(self) -> None:
        token = self.parser.token
        if self.parser.accept(".reqntid"):
            x, y, z = self._sizes()
            self.block = (x, y, z)
        elif self.parser.accept(".maxntid"):
            x, y, z = self._sizes()
            self.most_threads = x * y * z
        elif self.parser.accept(".maxnreg"):
            self.parser.number("a number of registers", 16, 255)
        elif self.parser.accept(".minnctapersm"):
            self.parser.number("a number of blocks", 1, 32)
        else:
            raise self.parser.unexpected("'{'")
        if self.block and self.block[0] * self.block[1] * self.block[2] > MOST_THREADS:
            raise self.parser.error(f"a block of more than {MOST_THREADS} threads", token)

    def _sizes(self) -> list[int]:
        sizes = [self.parser.number("a number of threads", 1, MOST_THREADS)]
        while len(sizes) < 3 and self.parser.accept(","):
            sizes.append(self.parser.number("a number of threads", 1, MOST_THREADS))
        return sizes + [1] * (3 - len(sizes))

    def _new(self, name: Token) -> None:
        """Names of parameters, variables and labels share one space."""
        taken = {p.name for p in self.parameters} | {v.name for v in (*self.shared, *self.local)}
        if name.text in taken or name.text in self.labels:
            raise self.parser.error(f"{name.text!r} is already declared", name)

    # The body

    def _statement(self) -> None:
        parser = self.parser
        if parser.accept(".reg"):
            kind = parser.type()
            self._registers(kind)
            while parser.accept(","):
                self._registers(kind)
            parser.keyword(";")
        elif parser.accept(".shared"):
            self._variable(self.shared, MOST_SHARED)
        elif parser.accept(".local"):
            self._variable(self.local, MOST_LOCAL)
        elif parser.accept(".pragma"):
            parser.keyword('"nounroll"')
            parser.keyword(";")
        elif self.scope is None and parser.accept("{"):
            self._braces()
        else:
            self._label_or_instruction()

    def _braces(self) -> None:
        """A few instructions with registers of their own, which LLVM writes for one."""
        self.scope = {}
        while not self.parser.accept("}"):
            self._statement()
        self.scope = None

    def _registers(self, kind: str) -> None:
        name = self.parser.name("a register's name")
        if self.scope is not None:
            self._own_register(name, kind)
            return
        if name.text[0] != "%":
            raise self.parser.error("a register's name starts with %", name)
        names = [name.text]
        if self.parser.accept("<"):
            count = self.parser.number("a number of registers", 1, MOST_REGISTERS)
            self.parser.keyword(">")
            names = [f"{name.text}{i}" for i in range(count)]
        for register in names:
            if register in self.registers:
                raise self.parser.error(f"{register!r} is already declared", name)
            self.registers[register] = kind
        if len(self.registers) > MOST_REGISTERS:
            raise self.parser.error(f"more than {MOST_REGISTERS} registers", name)

    def _own_register(self, name: Token, kind: str) -> None:
        assert self.scope is not None
        if name.text in self.scope or name.text in self.registers:
            raise self.parser.error(f"{name.text!r} is already declared", name)
        # No other name has such a sign.
        self.scope[name.text] = f"{name.text}#{len(self.registers)}"
        self.registers[self.scope[name.text]] = kind

    def _variable(self, variables: list[Variable], most: int) -> None:
        parser = self.parser
        parser.keyword(".align")
        alignment = parser.alignment()
        kind = parser.type()
        name = parser.name("a variable's name")
        self._new(name)
        count = 1
        if parser.accept("["):
            count = parser.number("a number of elements", 1, most)
            parser.keyword("]")
        parser.keyword(";")
        offset, size = (
            -(-end_of(variables) // alignment) * alignment,
            count * max(BITS[kind] // 8, 1),
        )
        if offset + size > most:
            raise parser.error(f"more than {most} bytes of such memory", name)
        variables.append(Variable(name.text, size, offset))

    def _label_or_instruction(self) -> None:
        guard = self._guard()
        name = self.parser.name("an instruction, a label or '}'", dotted=True)
        is_name = "." not in name.text and self.scope is None
        if guard is None and is_name and self.parser.accept(":"):
            self._new(name)
            self.labels[name.text] = len(self.instructions)
            return
        operands: list[Operand] = []
        if not self.parser.accept(";"):
            self._list(lambda: operands.append(self._operand()), ";")
        place = Place(name.line, name.column)
        self.instructions.append(Instruction(name.text, tuple(operands), guard, place))

    def _guard(self) -> Guard | None:
        if not self.parser.accept("@"):
            return None
        negated = self.parser.accept("!")
        name = self.parser.name("a predicate")
        return Guard(Register(name.text, Place(name.line, name.column)), negated)

    def _operand(self) -> Operand:
        token = self.parser.token
        place = Place(token.line, token.column)
        if self.parser.accept("["):
            return self._address(place)
        if self.parser.accept("{"):
            elements: list[Register | Literal | None] = []
            self._list(lambda: elements.append(self._element()), "}")
            return Vector(tuple(elements), place)
        return self._simple()

    def _element(self) -> Register | Literal | None:
        if self.parser.accept("_"):
            return None
        token, operand = self.parser.token, self._simple()
        if isinstance(operand, Symbol):
            raise self.parser.error("a vector has registers and numbers", token)
        return operand

    def _simple(self) -> Register | Literal | Symbol:
        token = self.parser.token
        place = Place(token.line, token.column)
        if token.kind == "integer":
            return Literal("int", integer(self.parser.advance().text), place)
        if token.kind == "float":
            text = self.parser.advance().text
            return Literal("f32" if text[1] in "fF" else "f64", int(text[2:], 16), place)
        name = self.parser.name("an operand", dotted=token.text.startswith("%")).text
        if self.scope is not None and name in self.scope:
            return Register(self.scope[name], place)
        return Register(name, place) if name[0] == "%" else Symbol(name, place)

    def _address(self, place: Place) -> Address:
        token, base = self.parser.token, self._simple()
        if isinstance(base, Literal):
            raise self.parser.error("an address starts with a register or a variable", token)
        offset = 0
        if self.parser.accept("+"):
            offset = self.parser.number("an offset", -(2**31), 2**31 - 1)
        self.parser.keyword("]")
        return Address(base, offset, place)


def integer(text: str) -> int:
    """The value of an integer token."""
    return int(text.removesuffix("U"), 0)
