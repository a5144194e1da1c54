"""The documents say what is so: links, paths, commands, snippets and tables against the code."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from aivmc.cli import main as app
from aivmc.ir.elementary import coefficients
from aivmc.ir.numpy_emit import NumpyEmit
from aivmc.ir.ops.cast import canonical_nan
from aivmc.ir.types import DType
from aivmc.kernel_file import manifest
from aivmc.passes.pipelines import PIPELINES
from docs import generate_numerics_f64, generate_ops
from examples.ocr.demo import stated_values

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def page(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def headings(text: str) -> set[str]:
    """Anchors, as GitHub makes them of headings."""
    titles = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_and_paths_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    prose = _FENCE.sub("", text)
    for link in re.findall(r"\]\(([^)\s]+)\)", prose):
        target, _, anchor = link.partition("#")
        file = path.parent / target if target else path
        assert file.exists(), link
        if anchor:
            assert anchor in headings(file.read_text("utf-8")), link
    folders = "aivmc|backends|docs|examples|ir|passes|tests"
    for name in re.findall(rf"`((?:{folders})/[\w./-]*)`", prose):
        in_kernel = name == manifest.CANONICAL
        assert in_kernel or (ROOT / name).exists(), name


def test_the_ops_page_is_up_to_date() -> None:
    assert page("ops.md") == generate_ops.page(), "run `make docs`"


def test_the_numerics_on_f64_are_up_to_date() -> None:
    assert page("numerics-f64.md") == generate_numerics_f64.page(), "run `make docs`"


def test_the_readme_states_the_demos_values() -> None:
    for label in ("demo", "fallback"):
        values = stated_values(README, label)
        assert re.fullmatch(r"aivm1:[0-9a-f]{64}", values["identity"])
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", values["output"])


def test_make_targets_in_documents_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.MULTILINE))
    for path in PAGES:
        text = path.read_text("utf-8")
        named = re.findall(r"`make ([\w-]+)`", text)
        for block in blocks(text, "console"):
            named += re.findall(r"^make ([\w-]+)", block, re.MULTILINE)
        assert set(named) <= targets, path


def test_commands_in_the_readme_exist() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    lines = [
        line.partition("#")[0].split()
        for block in blocks(README, "console")
        for line in block.splitlines()
        if line.startswith("aivmc ")
    ]
    assert {name for _, name, *_ in lines} == set(commands)
    for _, name, *words in lines:
        options = {o for parameter in commands[name].params for o in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= options, name


def test_the_readmes_python_runs(tmp_path: Path) -> None:
    model = tmp_path / "examples" / "ocr"
    model.mkdir(parents=True)
    shutil.copy(ROOT / "examples" / "ocr" / "small.onnx", model)
    (code,) = blocks(README, "python")
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"aivm1:[0-9a-f]{64}\n[0-9a-f]{64}\n", done.stdout)


def test_add_an_op_shows_the_code_as_it_is() -> None:
    definition, converter = blocks(page("add-an-op.md"), "python")
    assert definition in (ROOT / "ir" / "ops" / "relu.py").read_text("utf-8")
    assert converter in (ROOT / "passes" / "legalize" / "activation.py").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(PIPELINES))
def test_the_architecture_lists_the_passes_that_run(name: str) -> None:
    listed = ", ".join(p.name for p in PIPELINES[name])
    assert f"- `{name}`: {listed}" in page("architecture.md")


@pytest.mark.parametrize("name", ["EXP2", "LOG1P"])
def test_the_numerics_have_the_coefficients_of_pow(name: str) -> None:
    (listed,) = re.findall(rf"^{name}((?:\s+-?0x\S+)+)$", page("numerics.md"), re.MULTILINE)
    assert [float.fromhex(c) for c in listed.split()] == list(getattr(coefficients, name))


def test_the_numerics_have_the_canonical_nans() -> None:
    names, bits = re.findall(r"^\| (.*) \|$", page("numerics.md"), re.MULTILINE)[:2]
    emit = NumpyEmit()
    for name, pattern in zip(names.split(" | "), bits.split(" | "), strict=True):
        dtype = DType(name)
        nan = canonical_nan(emit, emit.const(float("nan"), dtype))
        assert f"`{nan.tobytes()[::-1].hex()}`" == pattern
