"""What gets installed: each package once, all of it, and nothing else."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIG: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
MAPPED: dict[str, str] = CONFIG["tool"]["setuptools"]["package-dir"]
PACKAGES: list[str] = CONFIG["tool"]["setuptools"]["packages"]
SHIPPED = {".py", ".lark", ".typed"}


def files_of(package: str) -> set[Path]:
    """Files to be installed of a top-level folder, without those reached through symlinks."""
    folder = ROOT / MAPPED[package]
    return {
        path
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not _is_linked(path, folder)
    }


def _is_linked(path: Path, folder: Path) -> bool:
    return any(p.is_symlink() for p in path.parents if p.is_relative_to(folder) and p != folder)


def installed_names() -> set[str]:
    return {
        f"{package.replace('.', '/')}/{path.relative_to(ROOT / folder).as_posix()}"
        for package, folder in MAPPED.items()
        for path in files_of(package)
    }


def test_every_package_is_listed() -> None:
    found = {str(Path(n).parent).replace("/", ".") for n in installed_names() if n.endswith(".py")}
    assert sorted(found) == sorted(PACKAGES)
    without_init = [
        p for p in found if f"{p.replace('.', '/')}/__init__.py" not in installed_names()
    ]
    assert without_init == []


def test_package_folders_hold_only_what_is_shipped() -> None:
    assert {Path(name).suffix for name in installed_names()} == SHIPPED


@pytest.mark.parametrize("package", sorted(set(MAPPED) - {"aivmc"}))
def test_the_checkout_has_the_packages_by_relative_links(package: str) -> None:
    link = ROOT / package.replace(".", "/")
    assert link.is_symlink()
    assert link.readlink() == Path("..") / MAPPED[package]


@pytest.mark.parametrize("package", sorted(set(MAPPED) - {"aivmc"}))
def test_a_mapped_package_has_one_name(package: str) -> None:
    command = [sys.executable, "-c", f"import {MAPPED[package]}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert f"import this package as {package}" in done.stderr


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is built from, as building leaves files behind."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    for name in MAPPED.values():
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=ignored)
    return folder


def build(kind: str, source: Path, to: Path) -> Path:
    code = f"import sys; from setuptools import build_meta; build_meta.build_{kind}(sys.argv[1])"
    to.mkdir()
    subprocess.run([sys.executable, "-c", code, str(to)], cwd=source, check=True)
    (built,) = to.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("built") / "wheel")


def names_in(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def test_the_wheel_holds_each_file_once(wheel: Path) -> None:
    packaged = [name for name in names_in(wheel) if ".dist-info/" not in name]
    assert sorted(packaged) == sorted(installed_names())


def test_the_wheel_works_by_itself(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import aivmc, aivmc.ir.text as text; "
        "assert aivmc.__file__.startswith(sys.argv[1]) and text.__file__.startswith(sys.argv[1]);"
        "print(text.parse('module det { func @main(%x: f32[N]) -> (y) { return %x } }'))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_source_distribution_builds_the_same_wheel(
    source: Path, wheel: Path, tmp_path: Path
) -> None:
    with tarfile.open(build("sdist", source, tmp_path / "sdist")) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = tmp_path.glob("aivmc-*")
    assert (unpacked / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()
    again = build("wheel", unpacked, tmp_path / "wheel")
    assert sorted(names_in(again)) == sorted(names_in(wheel))


def test_what_decides_machine_code_is_pinned() -> None:
    dependencies = CONFIG["project"]["dependencies"]
    pinned = {d.partition("==")[0] for d in dependencies if "==" in d}
    assert pinned == {"apache-tvm", "apache-tvm-ffi", "llvmlite"}


def test_the_readme_gives_a_reason_for_every_dependency() -> None:
    project, readme = CONFIG["project"], (ROOT / "README.md").read_text("utf-8")
    extras = [r for extra in project["optional-dependencies"].values() for r in extra]
    for requirement in [*project["dependencies"], *extras]:
        (name,) = re.findall(r"^[\w.-]+", requirement)
        assert re.search(rf"\b{re.escape(name)}\b", readme), f"README.md: what is {name} for?"
