"""The demo end to end: the text is read, and identity and bits are what the README states."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import aivmc
from examples.models.make import SMALL, make
from examples.ocr import demo
from examples.ocr.make_picture import TEXT
from examples.ocr.recognize import prepare, read_picture
from examples.published import ROOT, published


def _assert_reads_as_stated(label: str, model: Path) -> None:
    reading = demo.read_line(model, demo.PICTURE, threads=2)
    assert reading.text == TEXT
    stated = demo.stated_values(demo.README.read_text("utf-8"), label)
    assert stated == {"identity": reading.identity, "output": reading.output}


def test_the_small_model_reads_the_picture_as_the_readme_states() -> None:
    _assert_reads_as_stated("fallback", demo.SMALL)


@pytest.mark.models
def test_the_published_model_reads_the_picture_as_the_readme_states() -> None:
    _assert_reads_as_stated("demo", published("ppocr_rec"))


def test_the_kernel_agrees_with_onnx_runtime_on_the_picture() -> None:
    x = prepare(read_picture(demo.PICTURE))
    kernel = aivmc.compile(demo.SMALL, target="cpu", shapes={"x": (1, 3, 48, "W")})
    (output,) = kernel.run({"x": x}).values()
    (expected,) = onnxruntime.InferenceSession(str(demo.SMALL)).run(None, {"x": x})
    assert output.shape == expected.shape
    assert np.abs(output - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize("name", sorted(SMALL))
def test_a_small_model_compiles_and_keeps_its_identity(name: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    make(name, str(path), small=True)
    kernel = aivmc.compile(path, target="cpu")
    kernel.save(tmp_path / "model.aivm")
    assert aivmc.load(tmp_path / "model.aivm").identity == kernel.identity


def test_json_is_all_that_the_command_prints() -> None:
    command = [sys.executable, "-m", "examples.ocr.demo", "--fallback", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["text"] == TEXT
