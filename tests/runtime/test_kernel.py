"""Kernels run: strict in what they take, exact in what they give, without the compiler."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aivmc
from aivmc.backends.cpu.targets import resolve
from aivmc.ir.binding import InputError
from aivmc.ir.constants import Array, tensor_digest
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.reader import open_kernel
from aivmc.kernel_file.writer import write_kernel
from aivmc.runtime import kernel as kernel_module
from aivmc.runtime.environment import missing_features
from aivmc.runtime.errors import NodeError
from aivmc.runtime.kernel import Kernel, load, pick_target
from tests.hand_made import artifact, contents, expected

F32 = np.float32
pytestmark = pytest.mark.skipif(
    bool(missing_features(artifact().requires)), reason="this node runs no x86-64-v3 code"
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kernel") / "k.aivm"
    write_kernel(contents(), path)
    return path


@pytest.fixture
def kernel(path: Path) -> Any:
    with load(path) as kernel:
        yield kernel


def numbers(rows: int) -> Array:
    return np.random.default_rng(rows).standard_normal((rows, 4)).astype(F32)


@pytest.mark.parametrize("threads", [None, 1, 2, 4])
@pytest.mark.parametrize("rows", [0, 1, 7, 1000])
def test_the_bits_are_those_of_the_program(kernel: Kernel, rows: int, threads: int | None) -> None:
    x = numbers(rows)
    y = kernel.run({"x": x}, threads)["y"]
    assert y.dtype == F32
    assert y.shape == (rows, 4)
    assert y.tobytes() == expected(x).tobytes()


def test_sizes_may_grow_and_shrink_between_runs(kernel: Kernel) -> None:
    for rows in (3, 1000, 2, 0, 5000, *range(100), 1000):
        x = numbers(rows)
        assert kernel.run({"x": x})["y"].tobytes() == expected(x).tobytes()


def test_outputs_are_fresh_and_aligned(kernel: Kernel) -> None:
    first, second = (kernel.run({"x": numbers(n)})["y"] for n in (3, 5))
    assert first.tobytes() == expected(numbers(3)).tobytes()
    for y in (first, second):
        assert y.ctypes.data % 64 == 0
        assert y.flags.writeable
    assert not np.shares_memory(first, second)


def test_outputs_outlive_the_kernel(path: Path) -> None:
    with load(path) as kernel:
        y = kernel.run({"x": numbers(3)})["y"]
    assert y.tobytes() == expected(numbers(3)).tobytes()


def _unaligned(x: Array) -> Array:
    raw = np.zeros(x.nbytes + 1, np.uint8)
    raw[1:] = np.frombuffer(x.tobytes(), np.uint8)
    return raw[1:].view(F32).reshape(x.shape)


def _read_only(x: Array) -> Array:
    x = x.copy()
    x.flags.writeable = False
    return x


def _shifted(x: Array) -> Array:
    """Aligned to 4 bytes only."""
    raw = np.zeros(x.size + 17, F32)
    start = (-(raw.ctypes.data // 4) % 16) + 1
    raw[start : start + x.size] = x.ravel()
    return raw[start : start + x.size].reshape(x.shape)


@pytest.mark.parametrize(
    "form",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.repeat(x, 2, axis=0)[::2],
        lambda x: x[::-1].copy()[::-1],
        lambda x: x.astype(">f4"),
        _unaligned,
        _shifted,
        _read_only,
        lambda x: x.view(np.memmap),
        lambda x: memoryview(x),
    ],
    ids=[
        *("column-major", "strided", "reversed", "big-endian", "unaligned", "shifted"),
        *("read-only", "subclass", "buffer"),
    ],
)
def test_any_layout_of_an_input_gives_the_same_bits(
    kernel: Kernel, form: Callable[[Array], Any]
) -> None:
    x = numbers(33)
    given = form(x)
    assert kernel.run({"x": given})["y"].tobytes() == expected(x).tobytes()
    assert np.asarray(given).astype(F32).tobytes() == x.tobytes()


def test_nan_and_infinity_are_legal(kernel: Kernel) -> None:
    x = np.array([[np.nan, np.inf, -np.inf, -0.0]], F32)
    y = kernel.run({"x": x})["y"]
    np.testing.assert_array_equal(y, expected(x))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ({}, "input 'x' is missing; the inputs are 'x'"),
        ({"X": numbers(1)}, "input 'x' is missing"),
        ({"x": numbers(1), "y": numbers(1)}, "there is no input 'y'"),
        ({"x": np.zeros((1, 4))}, r"input 'x' must be f32\[N, 4\], not of dtype float64"),
        ({"x": np.zeros((1, 4), np.int32)}, "not of dtype int32"),
        ({"x": [[1.0, 2.0, 3.0, 4.0]]}, "not of dtype float64"),
        ({"x": [["a"] * 4]}, "not of dtype <U1"),
        ({"x": None}, "not of dtype object"),
        ({"x": np.zeros(4, F32)}, "2 dims are needed"),
        ({"x": np.zeros((1, 1, 4), F32)}, "2 dims are needed"),
        ({"x": np.zeros((4, 1), F32)}, "dim 1 must be 4"),
    ],
)
def test_inputs_that_do_not_fit(kernel: Kernel, inputs: dict[str, Any], message: str) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            kernel.run(inputs)
    assert kernel.run({"x": numbers(1)})["y"].shape == (1, 4)


def test_a_wrong_name_is_found_though_the_shapes_were_seen_before(kernel: Kernel) -> None:
    kernel.run({"x": numbers(1)})
    with pytest.raises(InputError, match="there is no input 'y'"):
        kernel.run({"x": numbers(1), "y": numbers(1)})


def test_bounds_are_checked(tmp_path: Path) -> None:
    what = contents()
    symbols = {"N": dataclasses.replace(what.signature.symbols["N"], low=2, high=3)}
    signature = dataclasses.replace(what.signature, symbols=symbols)
    write_kernel(contents(signature=signature), tmp_path / "k")
    with load(tmp_path / "k") as kernel:
        kernel.run({"x": numbers(3)})
        for rows in (1, 4):
            with pytest.raises(InputError, match=r"N must be in 2\.\.3"):
                kernel.run({"x": numbers(rows)})


@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads(kernel: Kernel, threads: int) -> None:
    with pytest.raises(aivmc.AivmcError, match="at least 1 thread"):
        kernel.run({"x": numbers(1)}, threads)


def test_a_small_run_wakes_no_thread(kernel: Kernel) -> None:
    before = threading.active_count()
    kernel.run({"x": numbers(3)}, threads=3)
    assert threading.active_count() == before
    kernel.run({"x": numbers(5000)}, threads=3)
    assert threading.active_count() == before + 2


def test_calls_from_several_threads(kernel: Kernel) -> None:
    right: list[bool] = []

    def work(rows: int) -> None:
        x = numbers(rows)
        outputs = [kernel.run({"x": x}, threads=1 + rows % 2)["y"] for _ in range(50)]
        right.extend(y.tobytes() == expected(x).tobytes() for y in outputs)

    workers = [threading.Thread(target=work, args=(rows,)) for rows in (3, 50, 1000, 8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert right == [True] * 200


def test_what_a_kernel_says_of_itself(kernel: Kernel, path: Path) -> None:
    assert kernel.identity == open_kernel(path).identity
    assert kernel.targets == ("x86-64-v3",)
    assert {n: str(t) for n, t in kernel.inputs.items()} == {"x": "f32[N, 4]"}
    assert {n: str(t) for n, t in kernel.outputs.items()} == {"y": "f32[N, 4]"}
    assert set(kernel.signature.symbols) == {"N"}


def test_a_saved_kernel_is_the_same_file(kernel: Kernel, path: Path, tmp_path: Path) -> None:
    kernel.save(tmp_path / "copy")
    kernel.save(tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == path.read_bytes()


def test_a_closed_kernel_says_so(path: Path) -> None:
    kernel = load(path)
    kernel.run({"x": numbers(5000)}, threads=2)
    kernel.close()
    kernel.close()
    with pytest.raises(aivmc.AivmcError, match="closed"):
        kernel.run({"x": numbers(1)})


def test_a_file_replaced_under_a_kernel_does_no_harm(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "k.aivm"
    write_kernel(contents(), file)
    with load(file) as kernel:
        write_kernel(contents(ledger=[]), file)
        assert kernel.identity != open_kernel(file).identity
        file.unlink()
        x = numbers(9)
        assert kernel.run({"x": x})["y"].tobytes() == expected(x).tobytes()


# Targets.


@pytest.fixture
def fat(tmp_path: Path) -> Path:
    write_kernel(contents(("x86-64-v3", "x86-64-v4")), tmp_path / "fat.aivm")
    return tmp_path / "fat.aivm"


def lacking(*features: str) -> Callable[[Any], tuple[str, ...]]:
    return lambda requires: tuple(f for f in requires if f in features)


@pytest.mark.parametrize(("lacks", "picked"), [((), "x86-64-v4"), (("avx512bw",), "x86-64-v3")])
def test_the_best_target_that_the_node_has(
    fat: Path, lacks: tuple[str, ...], picked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_module, "missing_features", lacking(*lacks))
    assert pick_target(open_kernel(fat).manifest.targets) == picked


def test_a_node_that_lacks_features_is_told_which(
    fat: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernel_module, "missing_features", lacking("fma", "avx2", "avx512f"))
    with pytest.raises(NodeError) as refusal:
        load(fat)
    assert "x86-64-v3 needs avx2, fma; x86-64-v4 needs avx2, fma, avx512f" in str(refusal.value)
    with pytest.raises(NodeError, match="x86-64-v3 needs avx2, fma"):
        load(fat, "x86-64-v3")


def test_a_target_that_the_kernel_lacks(fat: Path) -> None:
    with pytest.raises(NodeError, match="no target 'cuda'; it has x86-64-v3, x86-64-v4"):
        load(fat, "cuda")


def system_kernel(path: Path, **told: str) -> Path:
    config = {**contents().config, "targets": {"x86-64-v3": told}}
    write_kernel(contents(config=config), path)
    return path


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"os": "darwin"}, r"needs for x86-64-v3: operating system darwin \(this node has linux\)"),
        ({"os": "linux", "abi": "musl"}, r"needs for x86-64-v3: ABI musl \(this node has gnu\)"),
        ({"triple": "sparc64-linux-gnu"}, r"architecture sparc64 \(this node has x86_64\)"),
        ({"os": "darwin", "abi": "musl"}, r"system darwin \(.*\), ABI musl \(.*\)$"),
    ],
)
def test_a_node_of_another_system_is_told_so(
    tmp_path: Path, told: dict[str, str], message: str
) -> None:
    with pytest.raises(NodeError, match=message):
        load(system_kernel(tmp_path / "k.aivm", **told))


def test_this_node_is_what_the_targets_are_for(tmp_path: Path) -> None:
    target = resolve("x86-64-v3")
    told = {"os": target.system, "abi": target.abi, "triple": target.triple}
    load(system_kernel(tmp_path / "k.aivm", **told)).close()
    for broken in (["linux"], "linux", {"x86-64-v3": 3}):
        config = {**contents().config, "targets": broken}
        write_kernel(contents(config=config), tmp_path / "broken.aivm")
        with pytest.raises(IntegrityError, match="configuration of the target x86-64-v3"):
            load(tmp_path / "broken.aivm")


# Plans that are not of the kernel.


@pytest.mark.parametrize(
    "change",
    [
        {"buffers": [["input", 1], ["arena", 0], ["arena", 0], ["output", 0]]},
        {"buffers": [["input", -1], ["arena", 0], ["arena", 0], ["output", 0]]},
        {"buffers": [["input", 0], ["arena", 0], ["constant", "0" * 64], ["output", 0]]},
        {"buffers": [["input", 0], ["arena", 1], ["arena", 0], ["output", 0]]},
        {"buffers": [["input", 0], ["arena", 0], ["arena", 0], ["arena", 0]]},
        {"buffers": [["stack", 0]]},
        {"buffers": [0]},
        {"slots": ["open('x')"]},
        {"slots": 3},
        {"steps": [{}]},
        {"scratch": None},
    ],
)
def test_a_plan_that_is_not_valid(tmp_path: Path, change: dict[str, Any]) -> None:
    changed = dataclasses.replace(artifact(), plan={**artifact().plan, **change})
    try:
        write_kernel(contents(artifacts=[changed]), tmp_path / "k")
    except TypeError:  # not even the writer takes it
        return
    with pytest.raises(IntegrityError):
        load(tmp_path / "k")


def test_sizes_that_no_memory_holds(tmp_path: Path) -> None:
    plan = {**artifact().plan, "slots": ["1000000000000000000*N"]}
    changed = dataclasses.replace(artifact(), plan=plan)
    write_kernel(contents(artifacts=[changed]), tmp_path / "k")
    with load(tmp_path / "k") as kernel, pytest.raises(InputError, match="bytes of memory"):
        kernel.run({"x": numbers(2)})


# A node has no compiler, and cryptography only where it signs or checks.

NODE = """
import sys
import aivmc
kernel = aivmc.load(sys.argv[1])
import numpy as np
(y,) = kernel.run({"x": np.ones((3, 4), np.float32)}, threads=2).values()
print(aivmc.tensor_digest(y))
compiler = {"tvm", "onnx", "lark", "networkx", "aivmc.passes", "aivmc.backends", "aivmc.importer",
            "aivmc.compiler", "aivmc.ir.text", "aivmc.ir.ops", "nacl", "pyblst", "blake3"}
print(*sorted(compiler & sys.modules.keys()))
"""


def test_running_imports_no_compiler(path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NODE, path],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    digest, imported = done.stdout.split("\n")[:2]
    assert digest == tensor_digest(expected(np.ones((3, 4), F32)))
    assert imported == ""
