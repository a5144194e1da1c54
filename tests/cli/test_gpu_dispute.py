"""Disputes between a node with a CPU and one with a GPU, which is simulated."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from aivmc.kernel_file.reader import open_kernel
from aivmc.protocol.execution import Session
from aivmc.protocol.receipt import write_receipt
from aivmc.protocol.trace import read_trace
from aivmc.ptx.device import Device
from aivmc.runtime.device_executor import DeviceExecutor
from aivmc.runtime.launches import LaunchPlan
from aivmc.trust.keys import PrivateKey, write_private_key
from tests.cli.harness import X, aivmc_cli, good, good_json
from tests.cli.test_bisect import bisect, verdict
from tests.onnx_models import build
from tests.small_model import small_model

KEYS = {"cpu": PrivateKey(bytes(32)), "ptx-sim": PrivateKey(b"1" * 32)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel for both, and what each node says of a run: a.json and a.bin, b.json and b.bin."""
    folder = tmp_path_factory.mktemp("dispute")
    onnx.save(small_model(), folder / "model.onnx")
    np.savez(folder / "in.npz", x=X)
    good("compile", folder / "model.onnx", "-t", "cpu", "-t", "cuda", "-o", folder / "k.aivm")
    for name, (device, key) in zip("ab", KEYS.items()):
        write_private_key(folder / f"{name}.pem", key)
        good(
            *("run", folder / "k.aivm", "--inputs", folder / "in.npz", "--output", folder / "o"),
            *("--device", device, "--receipt", folder / f"{name}.json"),
            *("--key", folder / f"{name}.pem", "--trace", folder / f"{name}.bin"),
        )
    return folder


def test_a_cpu_and_a_gpu_agree(folder: Path) -> None:
    traces = [read_trace(folder / f"{name}.bin") for name in "ab"]
    assert [t.target for t in traces] == ["x86-64-v3", "cuda"]
    assert traces[0].root == traces[1].root
    assert verdict(0, *bisect(folder))["verdict"]["wrong"] == []


def test_a_convolution_that_pads_itself_has_the_trace_of_one_that_reads_a_copy(
    tmp_path: Path,
) -> None:
    window = np.random.default_rng(1).standard_normal((8, 8, 3, 3), np.float32)
    nodes = [
        onnx.helper.make_node("Conv", [x, "w"], [y], pads=[1] * 4) for x, y in ("xh", "hi", "iy")
    ]
    model = build(nodes, {"x": ("float32", (1, 8, 6, 6))}, ["y"], {"w": window})
    onnx.save(model, tmp_path / "model.onnx")
    good("compile", tmp_path / "model.onnx", "-t", "cpu", "-t", "cuda", "-o", tmp_path / "k.aivm")
    kernel = open_kernel(tmp_path / "k.aivm")
    steps = [len(kernel.json(f"targets/{t}/plan.json")["steps"]) for t in ("x86-64-v3", "cuda")]
    assert steps[0] == steps[1] + 2  # the first copy has its axes in another order, too
    x = np.random.default_rng(2).standard_normal((1, 8, 6, 6), np.float32)
    sessions = [Session(kernel, device=device) for device in KEYS]
    a, b = (session.execute({"x": x}, traced=True).trace for session in sessions)
    assert a and b and (a.program, a.root) == (b.program, b.root)
    cost = good_json("inspect", tmp_path / "k.aivm", "--stage", "cost")
    assert len(cost["launches"]) == steps[1]


Change = tuple[str, str, int]  # what of the PTX is which other text, in which kernel


@pytest.mark.parametrize(
    ("change", "leaf"),
    [
        (("fma.rn.f32", "fma.rn.f32", 0), None),  # none,
        (("add.rn.f32", "sub.rn.f32", 0), 0),
        (("add.rn.f32", "sub.rn.f32", 1), 1),
    ],
)
@pytest.mark.parametrize("only_gpus", [False, True])
def test_a_gpu_that_computes_something_else_is_found(
    change: Change, leaf: int | None, only_gpus: bool, folder: Path, tmp_path: Path
) -> None:
    """``only_gpus``: both nodes have one, as has the one that looks."""
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    if only_gpus:
        good("compile", folder / "model.onnx", "-t", "cuda", "-o", tmp_path / "k.aivm")
        tell(tmp_path, "a", lambda text: text)
    tell(tmp_path, "b", lambda text: changed(text, change))
    found = verdict(0 if leaf is None else 1, *bisect(tmp_path))["verdict"]
    assert (found["leaf"], found["wrong"]) == (leaf, [] if leaf is None else ["B"])
    if only_gpus:
        right = leaf is None
        again = ("--kernel", tmp_path / "k.aivm", "--inputs", tmp_path / "in.npz", "--rerun")
        told = aivmc_cli("receipt", "verify", tmp_path / "b.json", *again)
        assert ("this node computes the same bits" in told.stdout) == right, told.stdout
        assert told.exit_code == (0 if right else 1)


def changed(text: str, change: Change) -> str:
    old, new, kernel = change
    head, *entries = text.split(".visible")
    assert old in entries[kernel]
    entries[kernel] = entries[kernel].replace(old, new)
    return ".visible".join([head, *entries])


def tell(folder: Path, name: str, change: Callable[[str], str]) -> None:
    """Write what a node with changed code says, whose self-test nobody sees."""
    session = Session(open_kernel(folder / "k.aivm"), "cuda", "ptx-sim")
    file = session.kernel.file
    plan = LaunchPlan.from_json(file.json("targets/cuda/plan.json"))
    code = change(file.text("targets/cuda/kernel.ptx")).encode()
    session._executor = DeviceExecutor(file.manifest.signature, plan, code, file.arrays(), Device())
    done = session.execute({"x": X}, traced=True)
    assert done.trace is not None
    (folder / f"{name}.json").write_bytes(write_receipt(done, KEYS["ptx-sim"]))
    (folder / f"{name}.bin").write_bytes(done.trace.to_bytes())
