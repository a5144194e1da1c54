"""BERT-base encoder (Devlin et al. 2018), written as PyTorch exports it.

Inputs input_ids, attention_mask, token_type_ids int64 [N,sequence]; outputs
last_hidden_state f32 [N,sequence,width] and pooler_output f32 [N,width].
"""

import math
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto

from examples.models.graph import Graph
from examples.models.layers import layer_norm, linear


@dataclass(frozen=True)
class Config:
    layers: int = 12
    width: int = 768
    heads: int = 12
    vocabulary: int = 30522
    positions: int = 512
    sequence: int = 128
    fused_norm: bool = True


FULL = Config()
SMALL = Config(layers=2, width=64, heads=4, vocabulary=100, positions=32, sequence=16)
EPSILON = 1e-12


def build(config: Config = FULL, seed: int = 110) -> onnx.ModelProto:
    g = Graph("bert_base", seed)
    names = ("input_ids", "attention_mask", "token_type_ids")
    shape = ("N", config.sequence)
    ids, mask, kinds = (g.input(name, shape, TensorProto.INT64) for name in names)
    batch = g.op("Gather", g.op("Shape", ids), g.constant(0, np.int64), axis=0)
    batch = g.op("Unsqueeze", batch, g.constant([0], np.int64))
    bias = _attention_bias(g, mask)
    x = _embed(g, ids, kinds, config)
    for layer in range(config.layers):
        x = _encoder_layer(g, x, f"encoder.layer.{layer}", bias, batch, config)
    first = g.op("Gather", x, g.constant(0, np.int64), axis=1, name="pooler/Gather")
    pooled = g.op("Tanh", linear(g, first, "pooler.dense", config.width, config.width))
    g.output(x, "last_hidden_state", ("N", config.sequence, config.width))
    g.output(pooled, "pooler_output", ("N", config.width))
    return g.model()


def _attention_bias(g: Graph, mask: str) -> str:
    """f32 [N,1,1,sequence]: 0 where attended, the lowest float where masked."""
    wide = g.op("Unsqueeze", mask, g.constant([1, 2], np.int64))
    kept = g.op("Cast", wide, to=TensorProto.FLOAT)
    hidden = g.op("Sub", g.constant(1.0, np.float32), kept)
    return g.op("Mul", hidden, g.constant(np.finfo(np.float32).min, np.float32))


def _embed(g: Graph, ids: str, kinds: str, config: Config) -> str:
    def table(name: str, rows: int) -> str:
        return g.uniform(f"embeddings.{name}.weight", (rows, config.width), 0.0, 0.5)

    words = g.op("Gather", table("word_embeddings", config.vocabulary), ids, axis=0)
    types = g.op("Gather", table("token_type_embeddings", 2), kinds, axis=0)
    positions = g.constant(np.arange(config.sequence).reshape(1, -1), np.int64)
    places = g.op("Gather", table("position_embeddings", config.positions), positions, axis=0)
    total = g.op("Add", g.op("Add", words, types), places)
    return _norm(g, total, "embeddings.LayerNorm", config)


def _encoder_layer(g: Graph, x: str, name: str, bias: str, batch: str, config: Config) -> str:
    context = _attention(g, x, f"{name}.attention.self", bias, batch, config)
    y = linear(g, context, f"{name}.attention.output.dense", config.width, config.width)
    x = _norm(g, g.op("Add", y, x), f"{name}.attention.output.LayerNorm", config)
    y = _gelu(g, linear(g, x, f"{name}.intermediate.dense", config.width, 4 * config.width))
    y = linear(g, y, f"{name}.output.dense", 4 * config.width, config.width)
    return _norm(g, g.op("Add", y, x), f"{name}.output.LayerNorm", config)


def _attention(g: Graph, x: str, name: str, bias: str, batch: str, config: Config) -> str:
    head = config.width // config.heads

    def heads(part: str, order: list[int]) -> str:
        flat = linear(g, x, f"{name}.{part}", config.width, config.width)
        split = g.constant([config.sequence, config.heads, head], np.int64)
        shape = g.op("Concat", batch, split, axis=0)
        return g.op("Transpose", g.op("Reshape", flat, shape), perm=order)

    query, key, value = (
        heads("query", [0, 2, 1, 3]),
        heads("key", [0, 2, 3, 1]),
        heads("value", [0, 2, 1, 3]),
    )
    scores = g.op("MatMul", query, key, name=f"{name}/MatMul")
    scores = g.op("Div", scores, g.constant(math.sqrt(head), np.float32))
    weights = g.op("Softmax", g.op("Add", scores, bias), axis=-1, name=f"{name}/Softmax")
    context = g.op("MatMul", weights, value, name=f"{name}/MatMul_1")
    context = g.op("Transpose", context, perm=[0, 2, 1, 3])
    joined = g.constant([config.sequence, config.width], np.int64)
    return g.op("Reshape", context, g.op("Concat", batch, joined, axis=0))


def _gelu(g: Graph, x: str) -> str:
    """x · (1 + erf(x/√2)) · ½"""
    inner = g.op("Erf", g.op("Div", x, g.constant(math.sqrt(2.0), np.float32)))
    total = g.op("Add", inner, g.constant(1.0, np.float32))
    return g.op("Mul", g.op("Mul", x, total), g.constant(0.5, np.float32))


def _norm(g: Graph, x: str, name: str, config: Config) -> str:
    return layer_norm(g, x, name, config.width, EPSILON, config.fused_norm)
