"""Train the demo's fallback recognizer: `python -m examples.ocr.train_small [small.onnx]`.

Five convolutions see 35 columns of a line 48 pixels high and name, every 4 columns, the character
that is centred there, or none. The file speaks the same interface as PP-OCRv4's recognizer: input
x f32 [N,3,48,W], output probabilities f32 [N,steps,classes], blank first, space last.
Training takes about a minute. Another BLAS may round it to other weights: the file is committed.
"""

import argparse
import math
import string
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from examples.models.graph import Graph, save
from examples.ocr.make_picture import PICTURE, TEXT, Colour, draw_line, font_of
from examples.ocr.network import Convolution, Floats, forward, train_step
from examples.ocr.recognize import HEIGHT, decode, prepare, read_picture

CHARACTERS = string.ascii_letters + string.digits + ".,:;!?'-()"
CLASSES = ["", *CHARACTERS, " "]
WIDTH = 320
STRIDE = 4
# out channels, kernel, stride, padding of each convolution
SHAPES = (
    (8, (3, 3), (2, 2), (1, 1)),
    (16, (3, 3), (2, 2), (1, 1)),
    (16, (3, 3), (2, 1), (1, 1)),
    (64, (6, 7), (1, 1), (0, 3)),
    (len(CLASSES), (1, 1), (1, 1), (0, 0)),
)


def new_network(random: np.random.Generator) -> list[Convolution]:
    layers: list[Convolution] = []
    inner = 3
    for outer, kernel, stride, padding in SHAPES:
        deviation = math.sqrt(2.0 / (inner * math.prod(kernel)))
        weight = random.standard_normal((outer, inner, *kernel), np.float32)
        weight *= np.float32(deviation)
        bias = np.zeros(outer, np.float32)
        layers.append(Convolution(weight, bias, stride, padding, relu=len(layers) < 4))
        inner = outer
    return layers


def random_text(random: np.random.Generator) -> str:
    """Words of random characters; half of them in the letters that text has most."""
    words = []
    for _ in range(random.integers(2, 6)):
        pool = string.ascii_lowercase if random.random() < 0.5 else CHARACTERS
        words.append("".join(random.choice(list(pool), random.integers(1, 9))))
    return " ".join(words)


def random_line(random: np.random.Generator) -> tuple[Floats, NDArray[np.intp]]:
    """A picture [3,48,WIDTH] of a random line, cut or padded, and the class of each frame."""
    text, size = random_text(random), float(random.integers(26, 52))
    margin = int(random.integers(6, 18))
    paper, ink = _colours(random)
    picture = draw_line(text, size, margin, paper, ink)
    pixels = prepare(np.asarray(_worn(picture, random)))[0]
    labels = frame_labels(text, size, margin, HEIGHT / picture.height)
    x = np.broadcast_to(pixels[:, :1, :1], (3, HEIGHT, WIDTH)).copy()
    width = min(WIDTH, pixels.shape[2])
    x[:, :, :width] = pixels[:, :, :width]
    return x, labels


def frame_labels(text: str, size: float, margin: int, scale: float) -> NDArray[np.intp]:
    """Class of each frame: a character where its centre falls, the blank elsewhere."""
    font = font_of(size)
    labels = np.zeros(WIDTH // STRIDE, np.intp)
    for index, character in enumerate(text):
        edges = font.getlength(text[:index]), font.getlength(text[: index + 1])
        frame = round((margin + sum(edges) / 2) * scale / STRIDE)
        if frame < len(labels):
            labels[frame] = CLASSES.index(character)
    return labels


def _colours(random: np.random.Generator) -> tuple[Colour, Colour]:
    """Light paper and dark ink, or the other way round once in four lines."""
    light, dark = random.integers(170, 256, 3), random.integers(0, 90, 3)
    paper, ink = (light, dark) if random.random() < 0.75 else (dark, light)
    return (paper[0], paper[1], paper[2]), (ink[0], ink[1], ink[2])


def _worn(picture: Image.Image, random: np.random.Generator) -> Image.Image:
    """The picture with noise."""
    pixels = np.asarray(picture).astype(np.float32)
    pixels += random.standard_normal(pixels.shape, np.float32) * random.uniform(0, 12)
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def train(steps: int, batch: int, seed: int) -> list[Convolution]:
    random = np.random.Generator(np.random.PCG64(seed))
    layers = new_network(random)
    for step in range(1, steps + 1):
        pictures, labels = zip(*(random_line(random) for _ in range(batch)))
        rate = 3e-3 * 0.5 * (1 + math.cos(math.pi * step / steps))
        loss = train_step(layers, np.stack(pictures), np.stack(labels), step, rate)
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss:.4f}", flush=True)
    return layers


def export(layers: list[Convolution], path: Path) -> None:
    """Write the network as ONNX, its characters in the metadata as PP-OCRv4 has them."""
    g = Graph("line_recognizer", seed=0)
    x = g.input("x", ("N", 3, HEIGHT, "W"))
    for index, layer in enumerate(layers):
        weight = g.weight(f"conv{index}.weight", layer.weight)
        bias = g.weight(f"conv{index}.bias", layer.bias)
        pads = [*layer.padding, *layer.padding]
        x = g.op("Conv", x, weight, bias, name=f"conv{index}", strides=layer.stride, pads=pads)
        if layer.relu:
            x = g.op("Relu", x, name=f"relu{index}")
    frames = g.op("Squeeze", x, g.constant([2], np.int64))
    scores = g.op("Transpose", frames, perm=[0, 2, 1])
    g.output(g.op("Softmax", scores, axis=2), "probabilities", ("N", "steps", len(CLASSES)))
    model = g.model()
    model.metadata_props.add(key="character", value="\n".join(CHARACTERS))
    save(model, str(path))


def main() -> None:
    parser = argparse.ArgumentParser(description="Train the small text-line recognizer.")
    default = Path(__file__).with_name("small.onnx")
    parser.add_argument("path", nargs="?", type=Path, default=default)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seed", type=int, default=48)
    options = parser.parse_args()
    layers = train(options.steps, options.batch, options.seed)
    read = decode(forward(layers, prepare(read_picture(PICTURE)))[0, :, 0].T, CLASSES).strip()
    print(f"reads the picture as {read!r}")
    if read != TEXT:
        raise SystemExit("this training did not succeed: try more steps or another seed")
    export(layers, options.path)


if __name__ == "__main__":
    main()
