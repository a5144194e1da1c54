"""Reading object files: the functions of a little-endian ELF64 object, and what it imports.

System V gABI, chapters 4 and 5. Only what LLVM writes is read; ``AuditError`` for another format.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from aivmc.backends.cpu.audit import AuditError

_MAGIC = b"\x7fELF\x02\x01"
_SYMBOL_TABLE = 2  # SHT_SYMTAB
_EXECUTABLE = 4  # SHF_EXECINSTR
_FUNCTION = 2  # STT_FUNC
_SYMBOL_BYTES = 24


@dataclass(frozen=True)
class Code:
    """A function, or what lies between two (``name`` is empty): its bytes, and where they are."""

    name: str
    section: str
    offset: int
    data: bytes


@dataclass(frozen=True)
class _Section:
    """Elf64_Shdr, as far as it is needed."""

    name: str
    type: int
    flags: int
    offset: int
    size: int
    link: int


@dataclass(frozen=True)
class _Symbol:
    name: str
    type: int
    section: int  # 0: undefined
    value: int
    size: int


class ObjectCode:
    """An object file: its ``machine`` is ELF's number of the architecture."""

    def __init__(self, data: bytes) -> None:
        if data[: len(_MAGIC)] != _MAGIC:
            raise AuditError("generated code is not a little-endian ELF64 object")
        self._data = data
        (self.machine,) = struct.unpack_from("<H", data, 18)
        self._sections = self._read_sections()
        self._symbols = list(self._read_symbols())

    @property
    def imports(self) -> list[str]:
        """Names of what the object needs from outside, sorted."""
        return sorted(s.name for s in self._symbols if s.section == 0 and s.name)

    def code(self) -> Iterator[Code]:
        """All executable bytes, in order: functions, and the gaps between them."""
        for number, section in enumerate(self._sections):
            if not section.flags & _EXECUTABLE:
                continue
            functions = sorted(
                (s for s in self._symbols if s.type == _FUNCTION and s.section == number),
                key=lambda s: s.value,
            )
            end = 0
            for function in functions:
                yield self._piece("", section, end, function.value)
                end = function.value + function.size
                yield self._piece(function.name, section, function.value, end)
            yield self._piece("", section, end, section.size)

    def _piece(self, name: str, section: _Section, begin: int, end: int) -> Code:
        if not 0 <= begin <= end <= section.size:
            raise AuditError(f"the functions of {section.name} overlap")
        start = section.offset
        return Code(name, section.name, begin, self._data[start + begin : start + end])

    def _read_sections(self) -> list[_Section]:
        (at,) = struct.unpack_from("<Q", self._data, 40)
        size, count, names = struct.unpack_from("<HHH", self._data, 58)
        # Elf64_Shdr: name, type, flags, addr, offset, size, link, info, addralign, entsize.
        rows = [struct.unpack_from("<IIQQQQII", self._data, at + i * size) for i in range(count)]
        names_at = rows[names][4]
        return [
            _Section(self._text(names_at + name), type, flags, offset, length, link)
            for name, type, flags, _, offset, length, link, _ in rows
        ]

    def _read_symbols(self) -> Iterator[_Symbol]:
        for section in self._sections:
            if section.type != _SYMBOL_TABLE:
                continue
            names_at = self._sections[section.link].offset
            for at in range(section.offset, section.offset + section.size, _SYMBOL_BYTES):
                name, info, _, number, value, size = struct.unpack_from("<IBBHQQ", self._data, at)
                text = self._text(names_at + name) if name else ""
                yield _Symbol(text, info & 15, number, value, size)

    def _text(self, at: int) -> str:
        return self._data[at : self._data.index(b"\0", at)].decode()
