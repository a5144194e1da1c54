"""The example models by name: their files, inputs for them, and their kernels, each made once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import aivmc
from aivmc.ir.constants import Array
from aivmc.ir.dims import evaluate
from aivmc.ir.types import TensorType
from examples.models.make import make
from examples.ocr.demo import SMALL as RECOGNIZER
from examples.published import ModelUnavailableError, published

PUBLISHED = ("ppocr_rec", "yolox_det", "mlp", "classifier")
SMALL = (
    *("resnet50_small", "mobilenet_v2_small", "bert_base_small", "gpt2_step_small"),
    "recognizer_small",
)
FULL = ("resnet50", "bert_base", "gpt2_step")

# Of every symbol that the models have; the published ones name theirs in their own ways.
SIZES = {
    "N": 2,
    "P": 5,
    "W": 64,
    "input_0": 7,
    "p2o_DynamicDimension_0": 1,
    "x_2": 48,
    "p2o_DynamicDimension_1": 160,
}
_SPREAD = {"images": 60.0}  # of pixels


class Examples:
    """Files and kernels of the examples, in a folder of the test session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.path = cache(self._path)
        self.kernel = cache(self._kernel)

    def _path(self, name: str) -> Path:
        """The model's file. Skips the test where a published one can't be had."""
        if name in PUBLISHED:
            try:
                return published(name)
            except ModelUnavailableError as error:
                pytest.skip(str(error))
        if name == "recognizer_small":
            return RECOGNIZER
        path = self._folder / f"{name}.onnx"
        make(name.removesuffix("_small"), str(path), small=name.endswith("_small"))
        return path

    def _kernel(self, name: str, target: str = "cpu") -> aivmc.Kernel:
        return aivmc.compile(self.path(name), target)


def inputs_for(types: Mapping[str, TensorType], seed: int = 0, **sizes: int) -> dict[str, Array]:
    """Random inputs of these types: normal floats, and integers 0 and 1, which every table has.

    ``sizes`` are of symbols; the others have those of ``SIZES``.
    """
    random = np.random.default_rng(seed)
    arrays: dict[str, Array] = {}
    for name, type in types.items():
        shape = [evaluate(dim, SIZES | sizes) for dim in type.shape]
        if type.dtype.is_integer:
            arrays[name] = random.integers(0, 2, shape).astype(type.dtype.numpy)
        else:
            spread = np.float32(_SPREAD.get(name, 1))
            arrays[name] = random.standard_normal(shape, np.float32) * spread
    return arrays


def onnxruntime_outputs(path: Path, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime gives without any of its optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 2
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs))))


def same_bits(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    """Whether these outputs are the same arrays, byte by byte."""

    def facts(arrays: Mapping[str, Array]) -> Sequence[object]:
        return [(n, x.dtype, x.shape, x.tobytes()) for n, x in sorted(arrays.items())]

    return facts(a) == facts(b)
