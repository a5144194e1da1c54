"""The archive: one layout for given members, ordinary tools read it, nothing else is accepted."""

from __future__ import annotations

import mmap
import os
import subprocess
import zipfile
from pathlib import Path
from shutil import which
from zlib import crc32

import pytest

from aivmc.kernel_file import container
from aivmc.kernel_file.container import Member
from aivmc.kernel_file.errors import IntegrityError, KernelFileError

MEMBERS = {"a": b"", "b/c.txt": b"some text", "b/d": bytes(range(256)) * 5}


def archive(contents: dict[str, bytes]) -> bytes:
    """The archive of these members in the order given."""
    members = [Member(name, len(data), crc32(data)) for name, data in contents.items()]
    layout = container.layout(members)
    pieces = [piece for pair in zip(layout.headers, contents.values()) for piece in pair]
    return b"".join([*pieces, layout.directory])


def test_what_is_written_is_read() -> None:
    data = memoryview(archive(MEMBERS))
    assert {n: bytes(d) for n, d in container.read(data, "a", "b/d").items()} == MEMBERS


def test_members_are_aligned() -> None:
    layout = container.layout([Member(n, len(d), crc32(d)) for n, d in MEMBERS.items()])
    assert all(offset % 64 == 0 for offset in layout.offsets)


def test_ordinary_tools_read_it(tmp_path: Path) -> None:
    path = tmp_path / "k.aivm"
    path.write_bytes(archive(MEMBERS))
    with zipfile.ZipFile(path) as opened:
        assert opened.testzip() is None
        assert {name: opened.read(name) for name in opened.namelist()} == MEMBERS
        assert {i.date_time for i in opened.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {i.compress_type for i in opened.infolist()} == {zipfile.ZIP_STORED}
    unzip = which("unzip")
    if unzip is not None:
        subprocess.run([unzip, "-t", path], check=True, capture_output=True)


def test_members_over_4_gib(tmp_path: Path) -> None:
    """In a sparse file: sizes and offsets beyond 32 bits."""
    large = 5 << 30
    members = [Member("a", large, 1), Member("b", 3, crc32(b"end"))]
    layout = container.layout(members)
    path = tmp_path / "large.aivm"
    with path.open("wb") as file:
        file.write(layout.headers[0])
        file.seek(layout.offsets[0] + large)
        file.write(layout.headers[1] + b"end" + layout.directory)
    with path.open("rb") as file:
        mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    read = container.read(mapped, "a", "b/d")
    assert len(read["a"]) == large
    assert bytes(read["b"]) == b"end"
    with zipfile.ZipFile(path) as opened:
        assert opened.read("b") == b"end"
        assert opened.getinfo("a").file_size == large
    os.truncate(path, 0)


@pytest.mark.parametrize(
    "contents",
    [{"b": b"", "a": b""}, {"a": b"", "../b": b""}, {"a": b"", "/b": b""}, {"a": b"", "é": b""}],
    ids=["not sorted", "parent folder", "absolute", "not ASCII"],
)
def test_names_that_no_kernel_has(contents: dict[str, bytes]) -> None:
    with pytest.raises(IntegrityError):
        container.read(memoryview(archive(contents)), next(iter(contents)), "a")


def test_a_member_twice() -> None:
    members = [Member("a", 0, 0), Member("a", 0, 0)]
    layout = container.layout(members)
    data = b"".join([*layout.headers, layout.directory])
    with pytest.raises(IntegrityError, match="twice"):
        container.read(memoryview(data), "a", "b/d")


@pytest.mark.parametrize("data", [b"", b"PK", b"hello", b"PK\x03\x04" + bytes(200)])
def test_not_a_kernel(data: bytes) -> None:
    with pytest.raises(KernelFileError, match=r"not an \.aivm kernel"):
        container.read(memoryview(data), "a", "b/d")


def test_another_zip_is_not_a_kernel(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("readme", "text")
    with pytest.raises(KernelFileError, match=r"not an \.aivm kernel"):
        container.read(memoryview(path.read_bytes()), "a", "b/d")


def test_every_byte_of_headers_and_manifest_is_checked() -> None:
    good = archive(MEMBERS)
    layout = container.layout([Member(n, len(d), crc32(d)) for n, d in MEMBERS.items()])
    inside = {
        i
        for offset, data in zip(layout.offsets, MEMBERS.values())
        for i in range(offset, offset + len(data))
        if data != MEMBERS["b/d"]
    }
    for position in set(range(len(good))) - inside:
        bad = bytearray(good)
        bad[position] ^= 0x40
        with pytest.raises((IntegrityError, KernelFileError)):
            container.read(memoryview(bad), "a", "b/d")
