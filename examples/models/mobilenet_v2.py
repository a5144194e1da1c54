"""MobileNetV2 (Sandler et al. 2018): depthwise convolutions, BatchNorm folded into biases, ReLU6.

Input x f32 [N,3,S,S]; output logits f32 [N,classes], no softmax.
"""

from dataclasses import dataclass

import numpy as np
import onnx

from examples.models.graph import Graph
from examples.models.layers import classifier, convolution

# (expansion, channels, repeats, stride of the first repeat): the paper's table 2
Stage = tuple[int, int, int, int]
STAGES: tuple[Stage, ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


@dataclass(frozen=True)
class Config:
    stages: tuple[Stage, ...] = STAGES
    stem: int = 32
    features: int = 1280
    image: int = 224
    classes: int = 1000


FULL = Config()
SMALL = Config(((1, 8, 1, 1), (6, 12, 2, 2), (6, 16, 2, 2)), 8, 64, 32, 10)


def build(config: Config = FULL, seed: int = 2) -> onnx.ModelProto:
    g = Graph("mobilenet_v2", seed)
    x = g.input("x", ("N", 3, config.image, config.image))
    x = _relu6(g, convolution(g, x, "features.0", (3, config.stem), 3, stride=2, bias=True))
    channels, index = config.stem, 1
    for expansion, outer, repeats, first_stride in config.stages:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            x = _inverted_residual(g, x, f"features.{index}", (channels, outer), expansion, stride)
            channels, index = outer, index + 1
    last = convolution(g, x, f"features.{index}", (channels, config.features), 1, bias=True)
    logits = classifier(g, _relu6(g, last), "classifier.1", config.features, config.classes)
    g.output(logits, "logits", ("N", config.classes))
    return g.model()


def _inverted_residual(
    g: Graph, x: str, name: str, channels: tuple[int, int], expansion: int, stride: int
) -> str:
    inner, outer = channels
    hidden = inner * expansion
    y = x
    if expansion != 1:
        y = _relu6(g, convolution(g, y, f"{name}.expand", (inner, hidden), 1, bias=True))
    depthwise = f"{name}.depthwise"
    y = convolution(g, y, depthwise, (hidden, hidden), 3, stride=stride, group=hidden, bias=True)
    y = convolution(g, _relu6(g, y), f"{name}.project", (hidden, outer), 1, bias=True)
    if stride == 1 and inner == outer:
        y = g.op("Add", x, y, name=f"{name}.add")
    return y


def _relu6(g: Graph, x: str) -> str:
    return g.op("Clip", x, g.constant(0.0, np.float32), g.constant(6.0, np.float32))
