"""A convolutional network and its training step in NumPy: just enough to train the small model.

Activations are [batch,channels,height,width], weights as ONNX Conv has them; f32, or f64 where
gradients are checked.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Pair = tuple[int, int]


@dataclass
class Convolution:
    """A convolution with bias; Adam's moments live beside the weights."""

    weight: Floats  # [out,in,kh,kw]
    bias: Floats  # [out]
    stride: Pair
    padding: Pair
    relu: bool
    moments: list[Floats] = field(default_factory=list)
    patches: Floats = field(init=False)
    active: NDArray[np.bool_] = field(init=False)
    padded_shape: tuple[int, ...] = field(init=False)

    def forward(self, x: Floats) -> Floats:
        """[batch,in,h,w] to [batch,out,h',w']; keeps what `backward` needs."""
        (ph, pw), (sh, sw) = self.padding, self.stride
        padded = np.pad(x, ((0, 0), (0, 0), (ph, ph), (pw, pw)))
        self.padded_shape = padded.shape
        windows = sliding_window_view(padded, self.weight.shape[2:], axis=(2, 3))
        windows = windows[:, :, ::sh, ::sw].transpose(0, 2, 3, 1, 4, 5)
        batch, height, width = windows.shape[:3]
        self.patches = windows.reshape(batch * height * width, -1)
        y = self.patches @ self.weight.reshape(len(self.bias), -1).T + self.bias
        self.active = y > 0 if self.relu else np.ones_like(y, bool)
        return (y * self.active).reshape(batch, height, width, -1).transpose(0, 3, 1, 2)

    def backward(self, dy: Floats) -> tuple[Floats, Floats, Floats]:
        """The gradients of the input, the weight and the bias."""
        batch, outer, height, width = dy.shape
        flat = dy.transpose(0, 2, 3, 1).reshape(-1, outer) * self.active
        columns = (flat @ self.weight.reshape(outer, -1)).reshape(
            batch, height, width, *self.weight.shape[1:]
        )
        dx = np.zeros(self.padded_shape, dy.dtype)
        (ph, pw), (sh, sw) = self.padding, self.stride
        for i in range(self.weight.shape[2]):
            for j in range(self.weight.shape[3]):
                rows, places = slice(i, i + sh * height, sh), slice(j, j + sw * width, sw)
                dx[:, :, rows, places] += columns[..., i, j].transpose(0, 3, 1, 2)
        dx = dx[:, :, ph : dx.shape[2] - ph, pw : dx.shape[3] - pw]
        return dx, (flat.T @ self.patches).reshape(self.weight.shape), flat.sum(axis=0)

    def adam(self, gradients: tuple[Floats, Floats], step: int, rate: float) -> None:
        """One Adam update (Kingma and Ba 2014) of weight and bias; `step` counts from 1."""
        parameters = (self.weight, self.bias)
        if not self.moments:
            self.moments = [np.zeros_like(p) for p in parameters for _ in range(2)]
        for index, (parameter, gradient) in enumerate(zip(parameters, gradients)):
            first, second = self.moments[2 * index : 2 * index + 2]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            mean, square = first / (1 - 0.9**step), second / (1 - 0.999**step)
            parameter -= rate * mean / (np.sqrt(square) + 1e-8)


def forward(layers: list[Convolution], x: Floats) -> Floats:
    for layer in layers:
        x = layer.forward(x)
    return x


def train_step(
    layers: list[Convolution], x: Floats, labels: NDArray[np.intp], step: int, rate: float
) -> float:
    """One update on pictures x and the class of each frame [batch,steps]; returns the loss."""
    scores = forward(layers, x)[:, :, 0]
    scores = scores - scores.max(axis=1, keepdims=True)
    logarithms = scores - np.log(np.exp(scores).sum(axis=1, keepdims=True))
    wanted = labels[:, np.newaxis]
    loss = -np.take_along_axis(logarithms, wanted, axis=1).mean()
    gradient = np.exp(logarithms)
    np.put_along_axis(gradient, wanted, np.take_along_axis(gradient, wanted, 1) - 1, axis=1)
    dy: Floats = (gradient / labels.size)[:, :, np.newaxis]
    for layer in reversed(layers):
        dy, *gradients = layer.backward(dy)
        layer.adam((gradients[0], gradients[1]), step, rate)
    return float(loss)
