"""All commands: help, bad usage, and the process: what it prints and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from aivmc.trust.keys import PrivateKey, write_private_key
from tests.cli.harness import ROOT, aivmc_cli, good, process

COMMANDS = (
    "compile",
    "run",
    "config",
    "request",
    "inspect",
    "opt",
    "verify",
    "diff",
    "bisect",
    "audit",
    "doctor",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    text = good(command, "--help")
    assert "Usage" in text
    assert "Example" in text


def test_help_imports_no_compiler() -> None:
    code = (
        "import sys\nfrom aivmc.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*sorted({'tvm', 'onnx', 'numpy', 'lark'} & sys.modules.keys()), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "\n"
    assert all(command in done.stdout for command in COMMANDS)


NODE = """
import sys
from aivmc.cli import main
try: main(sys.argv[1:])
except SystemExit as ended: assert ended.code == 0
compiler = {"tvm", "onnx", "lark", "aivmc.passes", "aivmc.ir.ops", "aivmc.compiler"}
print(*sorted(compiler & sys.modules.keys()), file=sys.stderr)
"""


def test_nodes_need_no_compiler(folder: Path, tmp_path: Path) -> None:
    run = ["run", folder / "model.aivm", "--inputs", folder / "in.npz"]
    write_private_key(tmp_path / "key.pem", PrivateKey(bytes(32)))
    signed = ["--receipt", tmp_path / "r.json", "--key", tmp_path / "key.pem"]
    for arguments in (
        [*run, "--output", tmp_path / "o.npz", *signed, "--trace", tmp_path / "t.bin"],
        ["receipt", "verify", tmp_path / "r.json"],
        ["audit", tmp_path],
        ["vrf", "prove", "--key", tmp_path / "key.pem", "--alpha", "00"],
    ):
        command = [sys.executable, "-c", NODE, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stderr == "\n", arguments[0]


def test_version() -> None:
    assert good("--version").startswith("aivmc ")


@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["compile"], ["run", "k.aivm"], ["compile", "m", "--seed", "x"]]
)
def test_bad_usage(arguments: list[str]) -> None:
    result = aivmc_cli(*arguments)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stdout == ""


# The process


def test_json_is_all_that_is_on_standard_output(folder: Path, tmp_path: Path) -> None:
    done = process("compile", folder / "model.onnx", "-o", tmp_path / "k", "--json")
    assert done.returncode == 0
    assert json.loads(done.stdout)["kernel"] == str(tmp_path / "k")
    assert done.stderr == ""


def test_a_reader_that_leaves(folder: Path) -> None:
    command = [sys.executable, "-c", "from aivmc.cli import main; main()"]
    with subprocess.Popen(
        [*command, "inspect", folder / "model.aivm", "--stage", "asm"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as child:
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        assert child.stderr.read() == b""
    assert child.returncode == 141


def test_an_interrupt(folder: Path, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo.air"
    os.mkfifo(fifo)
    command = [sys.executable, "-c", "from aivmc.cli import main; main()"]
    child = subprocess.Popen(
        [*command, "opt", fifo, "-p", "canonicalize"],
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        # A shell's background jobs ignore interrupts, and so would what they start.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    # Opening the other end waits until the command reads.
    with child, fifo.open("w"):
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        message = child.stderr.read()
    assert (child.returncode, message) == (130, b"error: interrupted\n")


def test_a_disk_that_is_full(folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands in for it."""
    code = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000));"
        "from aivmc.cli import main; main()"
    )
    out = tmp_path / "k.aivm"
    done = subprocess.run(
        [sys.executable, "-c", code, "compile", folder / "model.onnx", "-o", out],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert "cannot write" in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
