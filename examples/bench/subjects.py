"""What the benchmark runs: each model's file, the shapes it is compiled for, and its inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from examples.models.make import make
from examples.published import cache_folder, published

Array = NDArray[np.float32] | NDArray[np.int64]
Shape = tuple[int | str, ...]


@dataclass(frozen=True)
class Subject:
    """A model at batch 1; `shapes` are fixed for both compilers, other dims stay symbolic."""

    file: Callable[[], Path]  # may raise ModelUnavailableError
    shapes: Mapping[str, Shape]
    inputs: Callable[[], dict[str, Array]]


PAST = 128
SEQUENCE = 128
IMAGE: Shape = (1, 3, 224, 224)
LINE: Shape = (1, 3, 48, 320)


def _made(name: str) -> Callable[[], Path]:
    def file() -> Path:
        path = cache_folder("models") / f"{name}.onnx"
        make(name, str(path))
        return path

    return file


def _normal(*shape: int | str) -> NDArray[np.float32]:
    random = np.random.Generator(np.random.PCG64(1))
    return random.standard_normal([int(dim) for dim in shape], np.float32)


def _tokens() -> dict[str, Array]:
    """A sequence whose last quarter is padding."""
    random = np.random.Generator(np.random.PCG64(2))
    mask = np.ones((1, SEQUENCE), np.int64)
    mask[:, -SEQUENCE // 4 :] = 0
    return {
        "input_ids": random.integers(0, 30522, (1, SEQUENCE)),
        "attention_mask": mask,
        "token_type_ids": np.zeros((1, SEQUENCE), np.int64),
    }


def _step() -> dict[str, Array]:
    caches: dict[str, Array] = {
        f"past_{kind}_{layer}": _normal(1, 12, PAST, 64)
        for layer in range(12)
        for kind in ("key", "value")
    }
    one = np.ones((1, 1), np.int64)
    return {"input_ids": 464 * one, "position_ids": PAST * one, **caches}


SUBJECTS = {
    "resnet50": Subject(_made("resnet50"), {"x": IMAGE}, lambda: {"x": _normal(*IMAGE)}),
    "resnet50_int8": Subject(_made("resnet50_int8"), {"x": IMAGE}, lambda: {"x": _normal(*IMAGE)}),
    "mobilenet_v2": Subject(_made("mobilenet_v2"), {"x": IMAGE}, lambda: {"x": _normal(*IMAGE)}),
    "bert_base": Subject(_made("bert_base"), dict.fromkeys(_tokens(), (1, SEQUENCE)), _tokens),
    # The cache grows with every step: its length stays symbolic.
    "gpt2_step": Subject(_made("gpt2_step"), {}, _step),
    "ppocr_rec": Subject(
        lambda: published("ppocr_rec"), {"x": LINE}, lambda: {"x": _normal(*LINE)}
    ),
}
