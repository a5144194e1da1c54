"""One decoder step of GPT-2 small (Radford et al. 2019) with a key/value cache.

Inputs input_ids, position_ids int64 [1,1] and past_key_i, past_value_i f32 [1,heads,P,64];
outputs logits f32 [1,1,vocabulary] and present_key_i, present_value_i f32 [1,heads,P+1,64].
The one new token attends to all that came before it, so the step needs no causal mask.
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from examples.models.graph import Graph
from examples.models.layers import layer_norm


@dataclass(frozen=True)
class Config:
    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 50257
    positions: int = 1024
    fused_norm: bool = False


FULL = Config()
SMALL = Config(layers=2, width=64, heads=4, vocabulary=100, positions=32)
EPSILON = 1e-5


def build(config: Config = FULL, seed: int = 124) -> onnx.ModelProto:
    g = Graph("gpt2_step", seed)
    ids = g.input("input_ids", (1, 1), TensorProto.INT64)
    places = g.input("position_ids", (1, 1), TensorProto.INT64)
    wte = g.uniform("wte.weight", (config.vocabulary, config.width), 0.0, 0.04)
    wpe = g.uniform("wpe.weight", (config.positions, config.width), 0.0, 0.04)
    x = g.op("Add", g.op("Gather", wte, ids, axis=0), g.op("Gather", wpe, places, axis=0))
    for layer in range(config.layers):
        x = _block(g, x, layer, config)
    x = _norm(g, x, "ln_f", config)
    # The head is tied to the embedding: one weight, transposed in the graph.
    head = g.op("Transpose", wte, perm=[1, 0], name="lm_head/Transpose")
    logits = g.op("MatMul", x, head, name="lm_head/MatMul")
    g.output(logits, "logits", (1, 1, config.vocabulary))
    return g.model()


def _block(g: Graph, x: str, layer: int, config: Config) -> str:
    width, name = config.width, f"h.{layer}"
    y = _attention(g, _norm(g, x, f"{name}.ln_1", config), layer, config)
    x = g.op("Add", y, x, name=f"{name}/Add")
    y = _conv1d(g, _norm(g, x, f"{name}.ln_2", config), f"{name}.mlp.c_fc", width, 4 * width)
    y = _conv1d(g, _gelu(g, y), f"{name}.mlp.c_proj", 4 * width, width)
    return g.op("Add", x, y, name=f"{name}/Add_1")


def _attention(g: Graph, x: str, layer: int, config: Config) -> str:
    name, width = f"h.{layer}.attn", config.width
    joint = _conv1d(g, x, f"{name}.c_attn", width, 3 * width)
    parts = (_third(g, joint, index, width) for index in range(3))
    query, key, value = (_split_heads(g, part, config) for part in parts)
    keys = _cached(g, key, "key", layer, config)
    values = _cached(g, value, "value", layer, config)
    turned = g.op("Transpose", keys, perm=[0, 1, 3, 2])
    scores = g.op("MatMul", query, turned, name=f"{name}/MatMul")
    scale = g.constant(math.sqrt(width // config.heads), np.float32)
    weights = g.op("Softmax", g.op("Div", scores, scale), axis=-1, name=f"{name}/Softmax")
    context = g.op("MatMul", weights, values, name=f"{name}/MatMul_1")
    context = g.op("Transpose", context, perm=[0, 2, 1, 3])
    context = g.op("Reshape", context, g.constant([1, 1, width], np.int64))
    return _conv1d(g, context, f"{name}.c_proj", width, width)


def _third(g: Graph, joint: str, index: int, width: int) -> str:
    begin, end = (g.constant([place * width], np.int64) for place in (index, index + 1))
    return g.op("Slice", joint, begin, end, g.constant([2], np.int64))


def _split_heads(g: Graph, x: str, config: Config) -> str:
    shape = g.constant([1, 1, config.heads, config.width // config.heads], np.int64)
    return g.op("Transpose", g.op("Reshape", x, shape), perm=[0, 2, 1, 3])


def _cached(g: Graph, new: str, kind: str, layer: int, config: Config) -> str:
    head = config.width // config.heads
    past = g.input(f"past_{kind}_{layer}", (1, config.heads, "P", head))
    present = g.op("Concat", past, new, axis=2)
    g.output(present, f"present_{kind}_{layer}", (1, config.heads, "P + 1", head))
    return present


def _conv1d(g: Graph, x: str, name: str, inner: int, outer: int) -> str:
    """GPT-2's linear layer: PyTorch exports its addmm as Gemm between two Reshapes."""
    weight = g.uniform(f"{name}.weight", (inner, outer), 0.0, math.sqrt(1.0 / inner))
    bias = g.uniform(f"{name}.bias", (outer,), 0.0, 0.02)
    flat = g.op("Reshape", x, g.constant([-1, inner], np.int64))
    product = g.op("Gemm", flat, weight, bias, name=f"{name}/Gemm", alpha=1.0, beta=1.0)
    return g.op("Reshape", product, g.constant([1, 1, outer], np.int64))


def _gelu(g: Graph, x: str) -> str:
    """½x · (1 + tanh(√(2/π) · (x + 0.044715 x³)))"""
    half = g.op("Mul", x, g.constant(0.5, np.float32))
    cube = g.op("Pow", x, g.constant(3.0, np.float32))
    inner = g.op("Add", x, g.op("Mul", cube, g.constant(0.044715, np.float32)))
    scaled = g.op("Mul", inner, g.constant(math.sqrt(2.0 / math.pi), np.float32))
    total = g.op("Add", g.op("Tanh", scaled), g.constant(1.0, np.float32))
    return g.op("Mul", half, total)


def _norm(g: Graph, x: str, name: str, config: Config) -> str:
    return layer_norm(g, x, name, config.width, EPSILON, config.fused_norm)
