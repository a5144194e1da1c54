"""ResNet-50 v1.5 (stride on the 3x3), He et al. 2015: NCHW, BatchNormalization kept as nodes.

Input x f32 [N,3,S,S]; output logits f32 [N,classes], no softmax.
"""

from dataclasses import dataclass

import onnx

from examples.models.graph import Graph
from examples.models.layers import batch_norm, classifier, convolution


@dataclass(frozen=True)
class Config:
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    width: int = 64
    image: int = 224
    classes: int = 1000


FULL = Config()
SMALL = Config(blocks=(2, 2, 1, 1), width=8, image=32, classes=10)
EXPANSION = 4


def build(config: Config = FULL, seed: int = 50) -> onnx.ModelProto:
    g = Graph("resnet50", seed)
    x = g.input("x", ("N", 3, config.image, config.image))
    x = _conv_norm(g, x, "conv1", "bn1", (3, config.width), 7, stride=2)
    x = g.op("Relu", x, name="relu")
    x = g.op("MaxPool", x, name="maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = config.width
    for stage, count in enumerate(config.blocks):
        width = config.width << stage
        for block in range(count):
            stride = 2 if stage > 0 and block == 0 else 1
            x = _bottleneck(g, x, f"layer{stage + 1}.{block}", channels, width, stride)
            channels = width * EXPANSION
    g.output(classifier(g, x, "fc", channels, config.classes), "logits", ("N", config.classes))
    return g.model()


def _bottleneck(g: Graph, x: str, name: str, channels: int, width: int, stride: int) -> str:
    outer = width * EXPANSION
    y = _conv_norm(g, x, f"{name}.conv1", f"{name}.bn1", (channels, width), 1)
    y = g.op("Relu", y, name=f"{name}.relu1")
    y = _conv_norm(g, y, f"{name}.conv2", f"{name}.bn2", (width, width), 3, stride=stride)
    y = g.op("Relu", y, name=f"{name}.relu2")
    y = _conv_norm(g, y, f"{name}.conv3", f"{name}.bn3", (width, outer), 1)
    if channels != outer or stride != 1:
        names = f"{name}.downsample.0", f"{name}.downsample.1"
        x = _conv_norm(g, x, *names, (channels, outer), 1, stride=stride)
    return g.op("Relu", g.op("Add", y, x, name=f"{name}.add"), name=f"{name}.relu3")


def _conv_norm(
    g: Graph,
    x: str,
    conv: str,
    norm: str,
    channels: tuple[int, int],
    kernel: int,
    stride: int = 1,
) -> str:
    y = convolution(g, x, conv, channels, kernel, stride=stride)
    return batch_norm(g, y, norm, channels[1], variance=2.0)
