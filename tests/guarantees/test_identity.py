"""A kernel's identity follows from what the model means and from the options: nothing else moves
it, and every one of those does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import aivmc
from aivmc.compiler import canonicalize
from aivmc.kernel_file.comparison import differences
from aivmc.passes.identity import semantic_digest
from tests.guarantees.examples_kit import SMALL, Examples
from tests.guarantees.file_variations import VARIATIONS, Variation, copy
from tests.onnx_models import build
from tests.small_model import small_model, weights

ROOT = Path(__file__).parents[2]
MANIFEST = Path(__file__).parent / "identities.json"
F32 = np.float32

# Processes.

CODE = """
import os, sys
umask, cpus, model, out = sys.argv[1:]
os.umask(int(umask, 8))
if cpus == "one":
    os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
import aivmc
aivmc.compile(model, ["x86-64-v4", "cpu"]).save(out)
"""
# umask, cores, name of the model's file, variables; the tests' own process is one more.
PROCESSES: list[tuple[str, str, str, dict[str, str]]] = [
    ("000", "all", "x", {"PYTHONHASHSEED": "0", "LC_ALL": "C", "TZ": "UTC"}),
    (
        *("077", "one", "a weight's Näme.onnx"),
        {
            "PYTHONHASHSEED": "4711",
            "PYTHONOPTIMIZE": "1",
            "LC_ALL": "tr_TR.UTF-8",
            "TZ": "Asia/Kathmandu",
            "TVM_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "7",
            "HOME": "/nonexistent",
            "USER": "nobody",
            "COLUMNS": "20",
        },
    ),
]


def test_processes_make_the_same_file(examples: Examples, tmp_path: Path) -> None:
    """Folders, hash seeds, locales, time zones, umasks, cores, file names and users are no part."""
    model = examples.path("recognizer_small")
    made = {bytes(aivmc.compile(model, ["x86-64-v3", "x86-64-v4"]).file.data)}
    for i, (umask, cores, name, variables) in enumerate(PROCESSES):
        folder = tmp_path / f"folder {i}" / "deeper"
        folder.mkdir(parents=True)
        (folder / name).write_bytes(model.read_bytes())
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        command = [sys.executable, "-c", CODE, umask, cores, name, "out.aivm"]
        subprocess.run(command, check=True, cwd=folder, env=environment)
        made.add((folder / "out.aivm").read_bytes())
    assert len(made) == 1


def test_a_host_that_cannot_run_the_target_makes_the_same_kernel(
    examples: Examples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its self-test is recorded by the reference semantics."""
    expected = [examples.kernel(n).identity for n in ("gpt2_step_small", "resnet50_small")]
    monkeypatch.setattr("aivmc.compiler.missing_features", lambda requires: tuple(requires))
    found = [
        aivmc.compile(examples.path(n)).identity for n in ("gpt2_step_small", "resnet50_small")
    ]
    assert found == expected


def test_compiling_other_models_before_leaves_no_mark(examples: Examples) -> None:
    again = [aivmc.compile(examples.path("gpt2_step_small")).identity for _ in range(2)]
    assert again == [examples.kernel("gpt2_step_small").identity] * 2


# Files that mean the same.


@cache
def _model(name: str, examples: Examples) -> Any:
    return small_model() if name == "perceptron" else onnx.load(examples.path(name))


@pytest.mark.parametrize("variation", VARIATIONS.values(), ids=list(VARIATIONS))
@pytest.mark.parametrize("name", ["perceptron", "gpt2_step_small"])
def test_variations_of_a_file_make_one_kernel(
    name: str, variation: Variation, examples: Examples
) -> None:
    model = _model(name, examples)
    assert aivmc.compile(variation(model)).identity == _identity(name, examples)


@cache
def _identity(name: str, examples: Examples) -> str:
    return aivmc.compile(_model(name, examples)).identity


@pytest.mark.parametrize("name", SMALL)
def test_variations_of_a_file_are_one_program(name: str, examples: Examples) -> None:
    """The quicker check, on every model."""
    model = _model(name, examples)
    digests = {v: semantic_digest(canonicalize(apply(model))[0]) for v, apply in VARIATIONS.items()}
    assert set(digests.values()) == {semantic_digest(canonicalize(model)[0])}, digests


def test_external_weights_make_the_same_kernel(examples: Examples, tmp_path: Path) -> None:
    name = "gpt2_step_small"
    for folder, one_file in (("one", True), ("many", False)):
        path = tmp_path / folder / "model.onnx"
        path.parent.mkdir()
        onnx.save_model(
            copy(_model(name, examples)),
            path,
            save_as_external_data=True,
            all_tensors_to_one_file=one_file,
            location="weights.bin" if one_file else None,
            size_threshold=0,
            convert_attribute=False,
        )
        assert len(list(path.parent.iterdir())) == 2 if one_file else 10
        assert aivmc.compile(path).identity == examples.kernel(name).identity


def _old_style() -> onnx.ModelProto:
    """Ops whose attributes became inputs in later opsets."""
    nodes = [
        helper.make_node("Unsqueeze", ["x"], ["a"], axes=[1]),
        helper.make_node("Squeeze", ["a"], ["b"], axes=[1]),
        helper.make_node("Clip", ["b"], ["c"], min=-1.0, max=1.5),
        helper.make_node("Slice", ["c"], ["d"], axes=[1], starts=[1], ends=[7]),
        helper.make_node("Pad", ["d"], ["e"], pads=[0, 1, 0, 1], value=2.0),
        helper.make_node("Dropout", ["e"], ["f"], ratio=0.3),
        helper.make_node("ReduceMean", ["f"], ["g"], axes=[1], keepdims=1),
        helper.make_node("Sub", ["f", "g"], ["h"]),
        helper.make_node("ReduceSum", ["h"], ["i"], axes=[1], keepdims=1),
        helper.make_node("Split", ["h"], ["j", "k"], axis=1, split=[3, 5]),
        helper.make_node("Mul", ["j", "i"], ["y"]),
        helper.make_node("TopK", ["k"], ["z", "places"], axis=1, k=2),
    ]
    outputs = {"y": [2, 3], "z": [2, 2]}
    model = build(nodes, {"x": (F32, [2, 8])}, list(outputs), opset=9)
    del model.graph.output[:]
    for name, shape in outputs.items():
        value = helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        model.graph.output.append(value)
    del model.opset_import[1:]
    return model


@pytest.mark.parametrize("opset", [10, 11, 13, 18, 22])
def test_an_opset_upgrade_makes_the_same_kernel(opset: int) -> None:
    upgraded = onnx.version_converter.convert_version(_old_style(), opset)
    assert upgraded.opset_import[0].version == opset
    before, after = (semantic_digest(canonicalize(m)[0]) for m in (_old_style(), upgraded))
    assert after == before


# Files that mean something else.


def test_every_other_weight_counts(examples: Examples) -> None:
    """The lowest bit of one element of each weight, in a model that folds none into another."""
    model = _model("gpt2_step_small", examples)
    digests = {semantic_digest(canonicalize(model)[0])}
    random = np.random.default_rng(13)
    for i, weight in list(enumerate(model.graph.initializer))[::2]:
        changed = copy(model)
        array = numpy_helper.to_array(weight).copy()
        array.view(np.uint32).ravel()[random.integers(array.size)] ^= 1
        changed.graph.initializer[i].raw_data = array.tobytes()
        digests.add(semantic_digest(canonicalize(changed)[0]))
    assert len(digests) == 1 + len(model.graph.initializer[::2])


def _one_bit() -> onnx.ModelProto:
    w = weights()
    w.view(np.uint32)[3, 5] ^= 1
    return small_model(w)


def _minus_zero() -> onnx.ModelProto:
    w = weights()
    w[0, 0] = -0.0
    return small_model(w)


def _zero() -> onnx.ModelProto:
    w = weights()
    w[0, 0] = 0.0
    return small_model(w)


@pytest.mark.parametrize(
    ("model", "options", "parts"),
    [
        (_one_bit(), {}, {"semantic", "program", "weights", "packed"}),
        (small_model(axis=0), {}, {"semantic", "program", "targets/x86-64-v3/kernel"}),
        (small_model(), {"seed": 1}, {"config"}),
        (small_model(), {"seed": 2**64 - 1}, {"config"}),
        (small_model(), {"target": "x86-64-v4"}, {"config", "targets/x86-64-v4/code"}),
        (small_model(), {"target": ["cpu", "x86-64-v4"]}, {"config", "targets/x86-64-v4/code"}),
        (small_model(), {"shapes": {"x": (4, 8)}}, {"semantic", "signature", "program"}),
    ],
    ids=["a bit of a weight", "an attribute", "the seed", "a large seed", "the target", "a target "
         "more", "a shape"],
)  # fmt: skip
def test_each_change_makes_another_kernel(
    model: Any, options: Mapping[str, Any], parts: set[str], examples: Examples
) -> None:
    other = aivmc.compile(model, **options)
    assert other.identity != _identity("perceptron", examples)
    plain = aivmc.compile(small_model())
    found = differences(plain.file, other.file)
    assert parts <= {d.part for d in found}
    if "semantic" not in parts:
        assert other.file.manifest.semantic == plain.file.manifest.semantic


def test_the_sign_of_zero_counts() -> None:
    assert aivmc.compile(_zero()).identity != aivmc.compile(_minus_zero()).identity


ATTRIBUTES: dict[str, Callable[..., onnx.NodeProto]] = {
    "Conv pads": lambda **a: _conv(pads=[1, 1, 1, 1], **a),
    "Conv strides": lambda **a: _conv(strides=[2, 1], **a),
    "Conv dilations": lambda **a: _conv(dilations=[1, 2], **a),
    "LeakyRelu alpha": lambda **a: helper.make_node("LeakyRelu", ["x"], ["y"], alpha=0.02, **a),
    "MaxPool shape": lambda **a: _pool("MaxPool", kernel_shape=[2, 2], **a),
    "MaxPool pads": lambda **a: _pool("MaxPool", kernel_shape=[2, 3], pads=[0, 1, 0, 1], **a),
    "AveragePool shape": lambda **a: _pool("AveragePool", kernel_shape=[2, 3], **a),
    "AveragePool count": lambda **a: _pool(
        "AveragePool", kernel_shape=[2, 3], pads=[0, 1, 0, 1], count_include_pad=1, **a
    ),
    "AveragePool pads": lambda **a: _pool(
        "AveragePool", kernel_shape=[2, 3], pads=[0, 1, 0, 1], **a
    ),
    "Softmax axis 1": lambda **a: helper.make_node("Softmax", ["x"], ["y"], axis=1, **a),
    "Softmax axis 2": lambda **a: helper.make_node("Softmax", ["x"], ["y"], axis=2, **a),
    "Transpose": lambda **a: helper.make_node("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3], **a),
    "Transpose other": lambda **a: helper.make_node(
        "Transpose", ["x"], ["y"], perm=[0, 1, 3, 2], **a
    ),
    "LRN size": lambda **a: helper.make_node("LRN", ["x"], ["y"], size=3, **a),
    "LRN alpha": lambda **a: helper.make_node("LRN", ["x"], ["y"], size=3, alpha=0.0002, **a),
    "Cast": lambda **a: helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT32, **a),
    "Cast other": lambda **a: helper.make_node("Cast", ["x"], ["y"], to=onnx.TensorProto.INT64),
    "InstanceNormalization": lambda **a: _norm(1e-5),
    "InstanceNormalization, one ulp": lambda **a: _norm(float(np.nextafter(F32(1e-5), F32(1)))),
}


def _conv(**attributes: Any) -> onnx.NodeProto:
    return helper.make_node("Conv", ["x", "k"], ["y"], **attributes)


def _pool(kind: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, ["x"], ["y"], **attributes)


def _norm(epsilon: float) -> onnx.NodeProto:
    return helper.make_node("InstanceNormalization", ["x", "s", "s"], ["y"], epsilon=epsilon)


def test_every_attribute_counts() -> None:
    constants = {"k": np.ones((2, 2, 3, 3), F32), "s": np.ones(2, F32)}
    digests = {}
    for name, node in ATTRIBUTES.items():
        model = build([node()], {"x": (F32, [2, 2, 8, 8])}, ["y"], constants)
        digests[name] = semantic_digest(canonicalize(model)[0])
    plain = build([_conv()], {"x": (F32, [2, 2, 8, 8])}, ["y"], constants)
    digests["Conv"] = semantic_digest(canonicalize(plain)[0])
    assert len(set(digests.values())) == len(digests), digests


# The manifest.


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v4"])
@pytest.mark.parametrize("name", SMALL)
def test_the_examples_have_the_identities_on_record(
    name: str, target: str, examples: Examples, request: pytest.FixtureRequest
) -> None:
    """A refactor leaves these unchanged; a change that moves them says why in the CHANGELOG."""
    identity = examples.kernel(name, target).identity
    recorded = json.loads(MANIFEST.read_text()) if MANIFEST.exists() else {}
    if request.config.getoption("--bless"):
        recorded.setdefault(name, {})[target] = identity
        MANIFEST.write_text(json.dumps(recorded, indent=2, sort_keys=True) + "\n")
    assert recorded.get(name, {}).get(target) == identity, "pytest --bless records the new ones"


def test_the_identity_is_the_hash_of_the_manifest(examples: Examples, tmp_path: Path) -> None:
    """As anyone can compute it with ordinary tools."""
    examples.kernel("bert_base_small").save(tmp_path / "k.aivm")
    with zipfile.ZipFile(tmp_path / "k.aivm") as archive:
        manifest = archive.read("manifest.json")
        code = archive.read("targets/x86-64-v3/kernel.o")
    identity = f"aivm1:{hashlib.sha256(manifest).hexdigest()}"
    assert identity == examples.kernel("bert_base_small").identity
    entry = json.loads(manifest)["members"]["targets/x86-64-v3/kernel.o"]
    assert entry["sha256"] == hashlib.sha256(code).hexdigest()
