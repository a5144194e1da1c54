"""Text-line recognition around the network: picture to input tensor, output tensor to text.

All pixel arithmetic is in integers and single IEEE operations, so the input tensor has the same
bits on every machine and with every version of Pillow and NumPy.
"""

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from PIL import Image

HEIGHT = 48
WEIGHT_BITS = 11  # the fixed-point precision of OpenCV's bilinear resize


def read_picture(path: Path) -> NDArray[np.uint8]:
    """The picture as uint8 RGB [height,width,3]."""
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def prepare(picture: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 RGB [height,width,3] to the recognizer's input, f32 BGR [1,3,48,W] in [-1,1].

    W keeps the picture's aspect ratio, as PP-OCRv4's own preprocessing does.
    """
    height, width, _ = picture.shape
    resized = resize(picture, HEIGHT, -(-HEIGHT * width // height))
    scaled = resized[:, :, ::-1].astype(np.float32) / np.float32(255.0)
    normal = (scaled - np.float32(0.5)) / np.float32(0.5)
    return np.ascontiguousarray(normal.transpose(2, 0, 1)[np.newaxis])


def resize(picture: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Bilinear, pixel centres at half integers, edges clamped; in fixed point."""
    rows = _interpolate(picture.astype(np.int64), height)
    both = _interpolate(rows.transpose(1, 0, 2), width).transpose(1, 0, 2)
    half = 1 << (2 * WEIGHT_BITS - 1)
    return ((both + half) >> (2 * WEIGHT_BITS)).astype(np.uint8)


def _interpolate(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Resample axis 0 to `count` samples; the result is scaled by 2**WEIGHT_BITS."""
    size = values.shape[0]
    # Sample i lies at (i + 1/2) · size / count - 1/2, a fraction over 2 · count.
    place = np.clip((2 * np.arange(count) + 1) * size - count, 0, 2 * count * (size - 1))
    lower, rest = np.divmod(place, 2 * count)
    upper = np.minimum(lower + 1, size - 1)
    weight = ((rest << WEIGHT_BITS) // (2 * count))[:, np.newaxis, np.newaxis]
    below: NDArray[np.int64] = values[lower] * ((1 << WEIGHT_BITS) - weight)
    above: NDArray[np.int64] = values[upper] * weight
    return below + above


def alphabet(model: Path) -> list[str]:
    """What each output class stands for: the blank, the model's characters, the space."""
    properties = {item.key: item.value for item in onnx.load(str(model)).metadata_props}
    if "character" not in properties:
        raise ValueError(f"{model}: no list of characters in the metadata ('character')")
    return ["", *properties["character"].split("\n"), " "]


def decode(probabilities: NDArray[np.float32], characters: list[str]) -> str:
    """Greedy CTC: the best class of each step of [steps,classes], repeats merged, blanks gone."""
    steps, classes = probabilities.shape
    if classes != len(characters):
        raise ValueError(f"{classes} output classes, but {len(characters)} characters")
    best = probabilities.argmax(axis=1)
    changed = np.ones(steps, bool)
    changed[1:] = best[1:] != best[:-1]
    return "".join(characters[index] for index in best[changed])
