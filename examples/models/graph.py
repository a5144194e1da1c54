"""A small ONNX graph builder with seeded weights: the same calls give the same bytes everywhere.

Weights come from the raw words of NumPy's PCG64, a stream that NumPy promises to keep, through
exact integer steps and one f32 multiplication. No libm takes part, so no platform can differ.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
IR_VERSION = 8

Dim = int | str
Array = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


class Graph:
    """Collects nodes, weights, inputs and outputs; values are named by strings."""

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self._bits = np.random.PCG64(seed)
        self._nodes: list[onnx.NodeProto] = []
        self._weights: dict[str, onnx.TensorProto] = {}
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def input(self, name: str, shape: Sequence[Dim], dtype: int = TensorProto.FLOAT) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(
        self, value: str, name: str, shape: Sequence[Dim], dtype: int = TensorProto.FLOAT
    ) -> None:
        """Publish `value` as the graph output `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=f"output/{name}"))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, shape))

    def op(self, kind: str, *inputs: str, name: str = "", **attributes: object) -> str:
        """Append a node with one output and return the output's name."""
        name = name or f"{kind}_{len(self._nodes)}"
        node = helper.make_node(kind, list(inputs), [f"{name}_output_0"], name=name, **attributes)
        self._nodes.append(node)
        return str(node.output[0])

    def constant(self, value: object, dtype: type[np.generic]) -> str:
        """A `Constant` node, as exporters write scalars and shapes."""
        tensor = numpy_helper.from_array(np.asarray(value, dtype))
        return self.op("Constant", value=tensor)

    def weight(self, name: str, array: Array) -> str:
        self._weights[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def uniform(self, name: str, shape: Sequence[int], mean: float, deviation: float) -> str:
        """An f32 weight, uniform around `mean` with the given standard deviation."""
        count = math.prod(shape)
        words = self._bits.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
        centred = (words >> 8).astype(np.int32) - (1 << 23)  # 24 bits: exact in f32
        step = np.float32(deviation * math.sqrt(3.0) / (1 << 23))
        array = centred.astype(np.float32) * step + np.float32(mean)
        return self.weight(name, array.reshape(shape))

    def integers(
        self, name: str, shape: Sequence[int], largest: int, dtype: type[np.generic]
    ) -> str:
        """A weight of integers, uniform from `-largest` to `largest`."""
        count = math.prod(shape)
        words = self._bits.random_raw((count + 1) // 2).astype("<u8").view("<u4")[:count]
        array = (words.astype(np.int64) * (2 * largest + 1) >> 32) - largest
        return self.weight(name, array.astype(dtype).reshape(shape))

    def model(self) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes, self.name, self._inputs, self._outputs, list(self._weights.values())
        )
        return helper.make_model(
            graph,
            producer_name="aivmc-examples",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )


def save(model: onnx.ModelProto, path: str) -> None:
    with open(path, "wb") as file:
        file.write(model.SerializeToString(deterministic=True))
