"""Commands in this process, or in one of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner, Result

from aivmc.cli import main

ROOT = Path(__file__).parents[2]
X = np.random.default_rng(3).standard_normal((3, 8)).astype(np.float32)


def aivmc_cli(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments], catch_exceptions=False)


def good(*arguments: object) -> str:
    result = aivmc_cli(*arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def good_json(*arguments: object) -> Any:
    return json.loads(good(*arguments, "--json"))


def refused(code: int, *arguments: object) -> str:
    """The one message of a command that fails with this code."""
    result = aivmc_cli(*arguments)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert result.stderr.startswith("error: ")
    return result.stderr


def process(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from aivmc.cli import main; main()", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run(command, capture_output=True, text=True, env=environment, **options)
