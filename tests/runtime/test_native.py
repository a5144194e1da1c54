"""Native execution: the same bytes with any threads and any floating-point environment outside."""

import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aivmc.backends.cpu.entry import Step, build_entry
from aivmc.backends.cpu.llvm import emit_object
from aivmc.backends.cpu.targets import resolve
from aivmc.ir.errors import AivmcError
from aivmc.runtime.environment import cpu_features, describe, missing_features
from aivmc.runtime.native import NativeKernel
from tests.float_environment import DEFAULT, ENVIRONMENT, HOSTILE

ROOT = Path(__file__).parents[2]
TARGET = resolve("x86-64-v3")

# Each kernel function loops over its tasks; the body has %i, its successor index is %next.
FRAME = """
define void @{name}(ptr %a, ptr %b, i64 %n, ptr %scratch, i64 %begin, i64 %end) {{
start:
  %some = icmp slt i64 %begin, %end
  br i1 %some, label %loop, label %done
loop:
  %i = phi i64 [ %begin, %start ], [ %next, %loop ]
  %source = getelementptr {type}, ptr %a, i64 %i
  %target = getelementptr {type}, ptr %b, i64 %i
{body}
  %next = add i64 %i, 1
  %more = icmp slt i64 %next, %end
  br i1 %more, label %loop, label %done
done:
  ret void
}}
"""
# b[i] = a[(i + 1) mod n] + 1: wrong where a step starts before the last one has ended.
ROTATE = """
  %j = add i64 %i, 1
  %wraps = icmp eq i64 %j, %n
  %k = select i1 %wraps, i64 0, i64 %j
  %from = getelementptr i64, ptr %a, i64 %k
  %old = load i64, ptr %from
  %new = add i64 %old, 1
  store i64 %new, ptr %target
"""
# b[i] = a[i] * 1e-10f + 1e-40f: subnormal, and inexact, so every mode that could be set shows.
SUBNORMAL = """
  %x = load float, ptr %source
  %y = fmul float %x, 0x3DDB7CDFE0000000
  %z = fadd float %y, 0x37A16C2000000000
  store float %z, ptr %target
"""
# b[i] = MXCSR, a[i] = the address of this thread's scratch, which is written to.
WITNESS = """
  call void @llvm.x86.sse.stmxcsr(ptr %target)
  %mode = load i32, ptr %target
  %wide = zext i32 %mode to i64
  store i64 %wide, ptr %target
  %place = ptrtoint ptr %scratch to i64
  store i64 %place, ptr %source
  store i64 7, ptr %scratch
"""
MODULE = 'target triple = "x86_64-linux-gnu"\n' + "".join(
    FRAME.format(name=name, type=kind, body=body)
    for name, kind, body in (
        ("rotate", "i64", ROTATE),
        ("subnormal", "float", SUBNORMAL),
        ("witness", "i64", WITNESS),
    )
)


@cache
def kernel_code(steps: tuple[Step, ...]) -> bytes:
    return emit_object([MODULE, build_entry(steps, TARGET.triple)], TARGET)


def rotations(count: int) -> tuple[Step, ...]:
    """Steps that rotate buffer 0 to 1 and back, some of them by thread 0 alone."""
    return tuple(
        Step("rotate", (i % 2, (i + 1) % 2), (0,), parallel=i % 5 not in (2, 3))
        for i in range(count)
    )


def run_rotations(kernel: NativeKernel, steps: int, n: int) -> np.ndarray[Any, Any]:
    a, b = np.arange(n), np.zeros(n, np.int64)
    kernel.run((a.ctypes.data, b.ctypes.data), (n,), (n,) * steps)
    return b if steps % 2 else a


@pytest.mark.parametrize("threads", [1, 2, 3, 4])
@pytest.mark.parametrize("n", [1, 2, 5, 64, 1000])
def test_steps_see_all_of_the_steps_before(threads: int, n: int) -> None:
    steps = 37
    kernel = NativeKernel(
        kernel_code(rotations(steps)), buffers=2, dims=1, steps=steps, threads=threads
    )
    for _ in range(10):
        got = run_rotations(kernel, steps, n)
        assert (got == (np.arange(n) + steps) % n + steps).all()
    kernel.close()


# Buffers that steps read and write: in turn, the same ones twice, and others.
READS_AND_WRITES = [(0, 1), (1, 2), (2, 0), (0, 2), (1, 2), (2, 0), (0, 1), (1, 2), (2, 1), (1, 0)]


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("n", [1, 50_000])
def test_parts_see_what_each_traced_step_leaves(threads: int, n: int) -> None:
    steps = tuple(
        Step("rotate", pair, (0,), parallel=i % 5 not in (2, 3), traced=i % 7 != 2)
        for i, pair in enumerate(READS_AND_WRITES * 2)
    )
    count = len(steps)
    kernel = NativeKernel(kernel_code(steps), buffers=3, dims=1, steps=count, threads=threads)
    buffers = [np.zeros(n, np.int64) for _ in range(3)]
    states = [np.arange(n), buffers[1].copy(), buffers[2].copy()]
    expected = []
    for step in steps:
        states[step.buffers[1]] = np.roll(states[step.buffers[0]], -1) + 1
        expected.append(states[step.buffers[1]])
    addresses, seen = tuple(b.ctypes.data for b in buffers), []

    def look(step: int, part: int) -> None:
        if step < 10:
            time.sleep(1e-4)  # who goes on too early overwrites what is looked at
        result = buffers[steps[step].buffers[1]]
        seen.append((step, part, bool((result == expected[step]).all())))

    def looks_at(step: int, begin: int, end: int) -> None:
        for part in range(begin, end):
            look(step, part)

    parts = [step % 4 for step in range(count)], looks_at
    looks = [(i, part, True) for i, s in enumerate(steps) if s.traced for part in range(i % 4)]
    for _ in range(20):
        for observed in (True, False):
            seen.clear()
            buffers[0][:] = np.arange(n)
            kernel.run(addresses, (n,), (n,) * count, parts=parts if observed else None)
            assert sorted(seen) == (looks if observed else [])
            assert [step for step, _, _ in seen] == sorted(step for step, _, _ in seen)
            assert (buffers[steps[-1].buffers[1]] == expected[-1]).all()
    kernel.close()


def test_an_error_of_a_part_ends_up_here() -> None:
    steps = rotations(2)
    code = kernel_code(tuple(replace(s, traced=True) for s in steps))
    for threads in (1, 2):
        kernel = NativeKernel(code, buffers=2, dims=1, steps=2, threads=threads)
        a, b = np.arange(4), np.zeros(4, np.int64)

        def fail(*_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            kernel.run((a.ctypes.data, b.ctypes.data), (4,), (4, 4), parts=([1, 0], fail))
        assert (run_rotations(kernel, 2, 4) == (np.arange(4) + 2) % 4 + 2).all()
        kernel.close()


def test_many_small_runs_on_more_threads_than_cores() -> None:
    steps, n = 6, 40
    kernel = NativeKernel(kernel_code(rotations(steps)), buffers=2, dims=1, steps=steps, threads=4)
    a, b = np.arange(n), np.zeros(n, np.int64)
    arguments = (a.ctypes.data, b.ctypes.data), (n,), (n,) * steps
    for i in range(2000):
        kernel.run(*arguments)
        if i % 250 == 0:
            time.sleep(0.001)  # so that workers fall asleep
    total = 2000 * steps
    assert (a == (np.arange(n) + total) % n + total).all()
    kernel.close()


def subnormals(threads: int, mode: int = DEFAULT) -> bytes:
    """Bytes of the subnormal kernel, made and run in an environment."""
    x = np.random.default_rng(7).standard_normal(4096).astype(np.float32) * np.float32(1e-29)
    y = np.zeros_like(x)
    code = kernel_code((Step("subnormal", (0, 1), (0,), True),))
    with ENVIRONMENT.mode(mode):
        kernel = NativeKernel(code, buffers=2, dims=1, steps=1, threads=threads)
        for _ in range(20):
            kernel.run((x.ctypes.data, y.ctypes.data), (0,), (len(x),))
        assert ENVIRONMENT.control == mode
    kernel.close()
    return y.tobytes()


def test_bytes_equal_in_every_environment_and_with_any_threads() -> None:
    x = np.random.default_rng(7).standard_normal(4096).astype(np.float32) * np.float32(1e-29)
    expected = (x * np.float32(1e-10) + np.float32(1e-40)).tobytes()
    for threads in (1, 2, 4):
        for mode in (DEFAULT, *HOSTILE):
            assert subnormals(threads, mode) == expected


def test_the_hostile_environments_would_show() -> None:
    """The check above has teeth: NumPy, which keeps the environment, gives other bytes."""
    x = np.random.default_rng(7).standard_normal(4096).astype(np.float32) * np.float32(1e-29)
    expected = (x * np.float32(1e-10) + np.float32(1e-40)).tobytes()
    for mode in HOSTILE:
        with ENVIRONMENT.mode(mode):
            got = (x * np.float32(1e-10) + np.float32(1e-40)).tobytes()
        assert got != expected


@pytest.mark.parametrize("mode", [DEFAULT, *HOSTILE])
def test_environment_and_scratch_of_every_thread(mode: int) -> None:
    n, threads = 400, 3
    places, modes = np.zeros(n, np.int64), np.zeros(n, np.int64)
    with ENVIRONMENT.mode(mode):  # which new threads inherit
        kernel = NativeKernel(
            kernel_code((Step("witness", (0, 1), (0,), True),)),
            buffers=2,
            dims=1,
            steps=1,
            threads=threads,
        )
        seen: set[int] = set()
        deadline = time.monotonic() + 20
        while len(seen) < threads and time.monotonic() < deadline:
            kernel.run((places.ctypes.data, modes.ctypes.data), (0,), (n,), 1000)
            assert set(modes & ~0x3F) == {DEFAULT}
            seen |= set(places.tolist())
        assert ENVIRONMENT.control == mode
    kernel.close()
    first = min(seen)
    assert first % 64 == 0
    assert seen == {first + i * 1024 for i in range(threads)}


def test_python_threads_share_a_kernel() -> None:
    steps, n = 5, 100
    kernel = NativeKernel(kernel_code(rotations(steps)), buffers=2, dims=1, steps=steps, threads=2)
    wrong: list[int] = []

    def work() -> None:
        for _ in range(50):
            got = run_rotations(kernel, steps, n)
            if not (got == (np.arange(n) + steps) % n + steps).all():
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong
    kernel.close()


def test_close_ends_the_threads_and_a_later_run_starts_anew() -> None:
    before = threading.active_count()
    kernel = NativeKernel(kernel_code(rotations(3)), buffers=2, dims=1, steps=3, threads=3)
    expected = run_rotations(kernel, 3, 10)
    assert threading.active_count() == before + 2
    kernel.close()
    kernel.close()
    assert threading.active_count() == before
    assert (run_rotations(kernel, 3, 10) == expected).all()
    del kernel
    gc.collect()
    assert threading.active_count() == before


def test_tables_are_checked() -> None:
    kernel = NativeKernel(kernel_code(rotations(3)), buffers=2, dims=1, steps=3)
    a = np.zeros(4, np.int64)
    with pytest.raises(ValueError, match="table"):
        kernel.run((a.ctypes.data,), (4,), (4, 4, 4))
    with pytest.raises(ValueError, match="table"):
        kernel.run((a.ctypes.data, a.ctypes.data), (4,), (4,))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork() -> None:
    kernel = NativeKernel(kernel_code(rotations(4)), buffers=2, dims=1, steps=4, threads=2)
    expected = run_rotations(kernel, 4, 50)
    child = os.fork()
    if child == 0:
        same = (run_rotations(kernel, 4, 50) == expected).all()
        os._exit(0 if same else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (run_rotations(kernel, 4, 50) == expected).all()
    kernel.close()


def test_interpreter_exits_with_live_threads(tmp_path: Path) -> None:
    code = tmp_path / "kernel.o"
    code.write_bytes(kernel_code(rotations(4)))
    script = (
        "import sys, numpy as np\n"
        "from aivmc.runtime.native import NativeKernel\n"
        "code = open(sys.argv[1], 'rb').read()\n"
        "kernel = NativeKernel(code, buffers=2, dims=1, steps=4, threads=4)\n"
        "a, b = np.arange(8), np.zeros(8, np.int64)\n"
        "for _ in range(100): kernel.run((a.ctypes.data, b.ctypes.data), (8,), (8,) * 4)\n"
        "assert not {'tvm', 'onnx'} & set(sys.modules)\n"
        "print(a.sum())\n"
    )
    for _ in range(3):
        result = subprocess.run(
            [sys.executable, "-c", script, str(code)], capture_output=True, text=True, timeout=60
        )
        assert (result.returncode, result.stderr) == (0, "")
        assert int(result.stdout) == 28 + 8 * 400


def test_what_is_not_a_kernel_is_refused() -> None:
    with pytest.raises(AivmcError, match="not an ELF object"):
        NativeKernel(b"nothing", buffers=0, dims=0, steps=0)
    with pytest.raises(AivmcError, match="aivm_run"):
        NativeKernel(emit_object([MODULE], TARGET), buffers=0, dims=0, steps=0)
    with pytest.raises(AivmcError, match="at least 1"):
        NativeKernel(kernel_code(rotations(1)), buffers=2, dims=1, steps=1, threads=0)


def test_steps_of_one_function_agree() -> None:
    with pytest.raises(ValueError, match="disagree"):
        build_entry([Step("f", (0,), (), True), Step("f", (0, 1), (), True)], TARGET.triple)
    with pytest.raises(AivmcError, match="floating-point environment"):
        build_entry([Step("f", (0,), (), True)], "sparc64-linux-gnu")


def test_entry_is_deterministic() -> None:
    script = (
        "import hashlib, runpy, sys\n"
        "m = runpy.run_path(sys.argv[1])\n"
        "print(hashlib.sha256(m['kernel_code'](m['rotations'](9))).hexdigest())\n"
    )
    for seed in ("0", "1"):
        result = subprocess.run(
            [sys.executable, "-c", script, __file__],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        )
        assert result.stdout.strip() == hashlib.sha256(kernel_code(rotations(9))).hexdigest()


def test_environment_of_this_node() -> None:
    assert missing_features(TARGET.requires) == ()
    assert missing_features(["no-such-feature", "sse2"]) == ("no-such-feature",)
    assert {"sse2", "fma"} <= cpu_features()
    assert describe()["cpu_features"] == sorted(cpu_features())
