"""The ZIP archive around a kernel: its layout follows from names, sizes and CRCs alone.

Members are stored uncompressed in the order of their names, each at a multiple of 64 bytes, with
fixed times and attributes and ZIP64 fields always. So a reader can derive what every byte outside
the members must be, and refuses any archive that differs: there is no room for gaps, overlaps,
comments, flags or other surprises. Ordinary tools read it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

from aivmc.kernel_file.errors import IntegrityError, KernelFileError

ALIGNMENT = 64
_LOCAL_MAGIC = b"PK\x03\x04"

_VERSION = 45  # the first with ZIP64
_MADE_BY = 3 << 8 | _VERSION  # 3: Unix
_DATE_1980_01_01 = 1 << 5 | 1
_MODE = 0o100644 << 16
_IN_ZIP64 = 0xFFFFFFFF
_ALIGNMENT_FIELD = 0xD935  # as Android's zipalign writes it

_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_LOCAL_ZIP64 = struct.Struct("<HHQQ")
_LOCAL_PAD = struct.Struct("<HHH")
_CENTRAL = struct.Struct("<4sHHHHHHIIIHHHHHII")
_CENTRAL_ZIP64 = struct.Struct("<HHQQQ")
_END64 = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_END = struct.Struct("<4sHHHHIIH")
_TAIL = _END64.size + _LOCATOR.size + _END.size

_NAME = re.compile(rb"[A-Za-z0-9][A-Za-z0-9._:-]*(/[A-Za-z0-9][A-Za-z0-9._:-]*)*")


@dataclass(frozen=True)
class Member:
    """One file of the archive."""

    name: str
    size: int
    crc32: int


@dataclass(frozen=True)
class Layout:
    """Where everything lies: a header before each member, and the directory at the end."""

    headers: tuple[bytes, ...]
    offsets: tuple[int, ...]  # of the members' data
    directory_offset: int
    directory: bytes

    @property
    def size(self) -> int:
        return self.directory_offset + len(self.directory)


def layout(members: Sequence[Member]) -> Layout:
    """The only layout of these members, which are sorted by name."""
    headers, offsets, entries, position = [], [], [], 0
    for member in members:
        header = _local_header(member, position)
        entries.append(_central_entry(member, position))
        headers.append(header)
        offsets.append(position + len(header))
        position = offsets[-1] + member.size
    central = b"".join(entries)
    directory = central + _end(len(members), len(central), position)
    return Layout(tuple(headers), tuple(offsets), position, directory)


def read(data: memoryview, first: str, manifest: str) -> dict[str, memoryview]:
    """The members of an archive, by name, without a copy. The first is called ``first``.

    Only the CRC of ``manifest`` is checked: no digest in the kernel covers that member.

    ``KernelFileError`` where ``data`` is no such archive, ``IntegrityError`` where it is one that
    was cut or changed.
    """
    start = _LOCAL.size
    if data[:4] != _LOCAL_MAGIC or data[start : start + len(first)] != first.encode():
        raise KernelFileError("it is not an .aivm kernel")
    members = _directory_members(data)
    if any(a.name >= b.name for a, b in pairwise(members)):
        raise IntegrityError("its members are not sorted by name, or one is there twice")
    expected = layout(members)
    if expected.size != len(data) or data[expected.directory_offset :] != expected.directory:
        raise IntegrityError("its directory was changed, or the file was cut")
    for offset, header in zip(expected.offsets, expected.headers):
        if data[offset - len(header) : offset] != header:
            raise IntegrityError("a member's header was changed")
    contents = {m.name: data[o : o + m.size] for m, o in zip(members, expected.offsets)}
    for member in members:
        if member.name == manifest and crc32(contents[manifest]) != member.crc32:
            raise IntegrityError(f"{manifest} was changed")
    return contents


def _local_header(member: Member, position: int) -> bytes:
    name = member.name.encode()
    zip64 = _LOCAL_ZIP64.pack(1, 16, member.size, member.size)
    end = position + _LOCAL.size + len(name) + len(zip64) + _LOCAL_PAD.size
    zeros = bytes(-end % ALIGNMENT)
    extra = zip64 + _LOCAL_PAD.pack(_ALIGNMENT_FIELD, 2 + len(zeros), ALIGNMENT) + zeros
    fixed = (_VERSION, 0, 0, 0, _DATE_1980_01_01, member.crc32, _IN_ZIP64, _IN_ZIP64)
    return _LOCAL.pack(_LOCAL_MAGIC, *fixed, len(name), len(extra)) + name + extra


def _central_entry(member: Member, position: int) -> bytes:
    name = member.name.encode()
    extra = _CENTRAL_ZIP64.pack(1, 24, member.size, member.size, position)
    fixed = (_MADE_BY, _VERSION, 0, 0, 0, _DATE_1980_01_01, member.crc32, _IN_ZIP64, _IN_ZIP64)
    rest = (len(name), len(extra), 0, 0, 0, _MODE, _IN_ZIP64)
    return _CENTRAL.pack(b"PK\x01\x02", *fixed, *rest) + name + extra


def _end(count: int, size: int, position: int) -> bytes:
    end64 = (_END64.size - 12, _MADE_BY, _VERSION, 0, 0, count, count, size, position)
    return (
        _END64.pack(b"PK\x06\x06", *end64)
        + _LOCATOR.pack(b"PK\x06\x07", 0, position + size, 1)
        + _END.pack(b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, _IN_ZIP64, _IN_ZIP64, 0)
    )


def _directory_members(data: memoryview) -> list[Member]:
    """What the directory says, believed only as far as is needed to derive the layout."""
    try:
        *_, count, _same, size, position = _END64.unpack_from(data, len(data) - _TAIL)
        if position + size + _TAIL != len(data):
            raise IntegrityError("it ends too early, or in something else")
        members = []
        for _ in range(count):
            member, position = _directory_member(data, position)
            members.append(member)
    except struct.error:
        raise IntegrityError("it ends too early") from None
    return members


def _directory_member(data: memoryview, position: int) -> tuple[Member, int]:
    fields = _CENTRAL.unpack_from(data, position)
    crc32, name_length = fields[7], fields[10]
    start = position + _CENTRAL.size
    name = bytes(data[start : start + name_length])
    _, _, size, _, _ = _CENTRAL_ZIP64.unpack_from(data, start + name_length)
    if not _NAME.fullmatch(name):
        raise IntegrityError("a member has a name that no kernel has")
    return Member(name.decode(), size, crc32), start + name_length + _CENTRAL_ZIP64.size
