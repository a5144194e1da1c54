"""ResNet-50 in bytes: the convolutions of resnet50.py as QLinearConv, with u8 activations and i8
weights of a scale for each channel, as static quantization makes them. Sums of branches are floats.

Input x f32 [N,3,S,S]; output logits f32 [N,classes], no softmax.
"""

import math

import numpy as np
import onnx

from examples.models.graph import Graph
from examples.models.layers import classifier
from examples.models.resnet50 import EXPANSION, FULL, SMALL, Config

__all__ = ["FULL", "SMALL", "build"]

IMAGE = (0.03, 128)  # scale and zero point
POSITIVE = (0.03, 0)  # after Relu, which saturation does
SIGNED = (0.05, 128)
LARGEST = 127  # of a weight


def build(config: Config = FULL, seed: int = 58) -> onnx.ModelProto:
    g = Graph("resnet50_int8", seed)
    x = _quantized(g, g.input("x", ("N", 3, config.image, config.image)), "input", IMAGE)
    x = _convolution(g, x, "conv1", (3, config.width), 7, stride=2, scales=(IMAGE, POSITIVE))
    x = g.op("MaxPool", x, name="maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = config.width
    for stage, count in enumerate(config.blocks):
        width = config.width << stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(g, x, f"layer{stage + 1}.{block}", channels, width, stride)
            channels = width * EXPANSION
    x = _real(g, x, "output", POSITIVE)
    g.output(classifier(g, x, "fc", channels, config.classes), "logits", ("N", config.classes))
    return g.model()


def _bottleneck(g: Graph, x: str, name: str, channels: int, width: int, stride: int) -> str:
    outer = width * EXPANSION
    both = (POSITIVE, POSITIVE)
    y = _convolution(g, x, f"{name}.conv1", (channels, width), 1, scales=both)
    y = _convolution(g, y, f"{name}.conv2", (width, width), 3, stride=stride, scales=both)
    last = (POSITIVE, SIGNED)
    y = _convolution(g, y, f"{name}.conv3", (width, outer), 1, scales=last)
    shortcut = POSITIVE
    if channels != outer or stride != 1:
        names = f"{name}.downsample"
        x = _convolution(g, x, names, (channels, outer), 1, stride=stride, scales=last)
        shortcut = SIGNED
    branches = _real(g, y, f"{name}.main", SIGNED), _real(g, x, f"{name}.shortcut", shortcut)
    total = g.op("Add", *branches, name=f"{name}.add")
    return _quantized(g, total, name, POSITIVE)


def _quantized(g: Graph, x: str, name: str, how: tuple[float, int]) -> str:
    return g.op("QuantizeLinear", x, *_parameters(g, how), name=f"{name}/QuantizeLinear")


def _real(g: Graph, x: str, name: str, how: tuple[float, int]) -> str:
    return g.op("DequantizeLinear", x, *_parameters(g, how), name=f"{name}/DequantizeLinear")


def _parameters(g: Graph, how: tuple[float, int]) -> tuple[str, str]:
    return g.constant(how[0], np.float32), g.constant(how[1], np.uint8)


def _convolution(
    g: Graph,
    x: str,
    name: str,
    channels: tuple[int, int],
    kernel: int,
    *,
    scales: tuple[tuple[float, int], tuple[float, int]],
    stride: int = 1,
) -> str:
    """A square convolution (in, out channels) with 'same' padding, its values about unit size."""
    inner, outer = channels
    deviation = LARGEST / math.sqrt(3.0)
    weight = g.integers(f"{name}.weight", (outer, inner, kernel, kernel), LARGEST, np.int8)
    scale = math.sqrt(1.0 / (inner * kernel * kernel)) / deviation
    spread = np.linspace(0.75, 1.25, outer) * scale
    bias = g.integers(f"{name}.bias", (outer,), int(0.2 / (scale * scales[0][0])), np.int32)
    return g.op(
        "QLinearConv",
        *(x, *_parameters(g, scales[0])),
        *(weight, g.constant(spread, np.float32), g.constant(np.zeros(outer), np.int8)),
        *(*_parameters(g, scales[1]), bias),
        name=name,
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[kernel // 2] * 4,
    )
