"""Files appear whole, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.atomic import atomic_file


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "k"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(AivmcError, match="No space left"), atomic_file(tmp_path / "k") as file:
        file.write(b"half")
        raise OSError(28, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    with atomic_file(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        with atomic_file(tmp_path / "k") as file:
            file.write(b"x")
    finally:
        os.umask(old)
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    "name", ["folder", "missing/k", "file/k", "a" * 300, "null\0byte", "/dev/null", ""]
)
def test_places_that_can_not_be_written(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(AivmcError, match="cannot write"), atomic_file(tmp_path / name) as file:
        file.write(b"x")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]


def test_permissions_are_there_from_the_start(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "k", mode=0o600) as file:
        assert os.fstat(file.fileno()).st_mode & 0o777 == 0o600
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600


def test_a_file_that_is_not_to_be_replaced(tmp_path: Path) -> None:
    path = tmp_path / "k"
    overtaken = pytest.raises(AivmcError, match=r"cannot write .* exists")
    with overtaken, atomic_file(path, replace=False):
        path.write_bytes(b"first")
    with pytest.raises(AivmcError, match="exists"), atomic_file(path, replace=False):
        pass
    assert path.read_bytes() == b"first"
    assert list(tmp_path.iterdir()) == [path]
