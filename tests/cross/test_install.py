"""What is missing is named where it can't be installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from examples.published import ROOT
from tests.cross.c_runner import INSTALL

NEEDED = ("sh", "mkdir", "id")
APT = "#!/bin/sh\nexit 100\n"


def _install(folder: Path, **programs: str) -> subprocess.CompletedProcess[str]:
    """The script on a machine that has little more than these programs, which are scripts."""
    for name in NEEDED:
        if name not in programs:
            os.symlink(str(shutil.which(name)), folder / name)
    for name, text in programs.items():
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    command = [str(ROOT / INSTALL), "python", str(folder / "cache")]
    environment = {"PATH": str(folder)}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("programs", "message"),
    [
        ({}, "this system has no apt-get: install, in its way, qemu-user-static"),
        ({"apt-get": APT, "id": "#!/bin/sh\necho 1000\n"}, "run as root: apt-get install qemu-"),
        ({"apt-get": APT, "id": "#!/bin/sh\necho 0\n"}, "apt-get can't install qemu-user-static"),
    ],
    ids=["no apt-get", "not root", "no archive"],
)
def test_says_what_it_needs(programs: dict[str, str], message: str, tmp_path: Path) -> None:
    done = _install(tmp_path, **programs)
    assert done.returncode == 1
    assert f"{INSTALL}: {message}" in done.stderr
    assert "riscv64-linux-gnu" in done.stderr
