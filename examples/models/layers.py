"""Layers that several example models share, spelled as exporters spell them."""

import math

import numpy as np

from examples.models.graph import Graph


def linear(g: Graph, x: str, name: str, inner: int, outer: int) -> str:
    """x · W + b over the last axis: MatMul and Add, as PyTorch exports nn.Linear."""
    weight = g.uniform(f"{name}.weight", (inner, outer), 0.0, math.sqrt(1.0 / inner))
    bias = g.uniform(f"{name}.bias", (outer,), 0.0, 0.02)
    product = g.op("MatMul", x, weight, name=f"{name}/MatMul")
    return g.op("Add", bias, product, name=f"{name}/Add")


def layer_norm(g: Graph, x: str, name: str, width: int, epsilon: float, fused: bool) -> str:
    """LayerNormalization over the last axis: one op, or the primitives older exporters write."""
    gamma = g.uniform(f"{name}.weight", (width,), 1.0, 0.1)
    beta = g.uniform(f"{name}.bias", (width,), 0.0, 0.05)
    if fused:
        return g.op("LayerNormalization", x, gamma, beta, name=name, axis=-1, epsilon=epsilon)
    mean = g.op("ReduceMean", x, axes=[-1], name=f"{name}/ReduceMean")
    centred = g.op("Sub", x, mean, name=f"{name}/Sub")
    squares = g.op("Pow", centred, g.constant(2.0, np.float32), name=f"{name}/Pow")
    variance = g.op("ReduceMean", squares, axes=[-1], name=f"{name}/ReduceMean_1")
    shifted = g.op("Add", variance, g.constant(epsilon, np.float32), name=f"{name}/Add")
    deviation = g.op("Sqrt", shifted, name=f"{name}/Sqrt")
    normal = g.op("Div", centred, deviation, name=f"{name}/Div")
    scaled = g.op("Mul", normal, gamma, name=f"{name}/Mul")
    return g.op("Add", scaled, beta, name=f"{name}/Add_1")


def convolution(
    g: Graph,
    x: str,
    name: str,
    channels: tuple[int, int],
    kernel: int,
    *,
    stride: int = 1,
    group: int = 1,
    bias: bool = False,
) -> str:
    """A square convolution (in, out channels) with 'same' padding and He-scaled weights."""
    inner, outer = channels
    shape = (outer, inner // group, kernel, kernel)
    deviation = math.sqrt(2.0 / (shape[1] * kernel * kernel))
    inputs = [x, g.uniform(f"{name}.weight", shape, 0.0, deviation)]
    if bias:
        inputs.append(g.uniform(f"{name}.bias", (outer,), 0.0, 0.1))
    return g.op(
        "Conv",
        *inputs,
        name=name,
        kernel_shape=[kernel, kernel],
        strides=[stride, stride],
        pads=[kernel // 2] * 4,
        dilations=[1, 1],
        group=group,
    )


def batch_norm(g: Graph, x: str, name: str, channels: int, variance: float = 1.0) -> str:
    """BatchNormalization whose running statistics are near (0, `variance`)."""
    return g.op(
        "BatchNormalization",
        x,
        g.uniform(f"{name}.weight", (channels,), 1.0, 0.1),
        g.uniform(f"{name}.bias", (channels,), 0.0, 0.1),
        g.uniform(f"{name}.running_mean", (channels,), 0.0, 0.1),
        g.uniform(f"{name}.running_var", (channels,), variance, 0.2 * variance),
        name=name,
        epsilon=1e-5,
        momentum=0.9,
    )


def classifier(g: Graph, x: str, name: str, features: int, classes: int) -> str:
    """Global average pool, flatten, fully connected: the head of an image classifier."""
    pooled = g.op("GlobalAveragePool", x, name="pool/GlobalAveragePool")
    flat = g.op("Flatten", pooled, axis=1, name="pool/Flatten")
    weight = g.uniform(f"{name}.weight", (classes, features), 0.0, math.sqrt(2.0 / features))
    bias = g.uniform(f"{name}.bias", (classes,), 0.0, 0.02)
    return g.op("Gemm", flat, weight, bias, name=name, alpha=1.0, beta=1.0, transB=1)
