"""Timing: single calls of two runtimes in turn, in one process, on the same inputs."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

import aivmc
from examples.bench.subjects import Shape

Floats = NDArray[np.float32]
Call = Callable[[], object]

FEWEST_ROUNDS = 5


@dataclass(frozen=True)
class Comparison:
    """Medians over the rounds, in milliseconds; a ratio below 1 means aivmc is faster."""

    rounds: int
    aivmc_ms: float
    onnxruntime_ms: float
    ratio_of_medians: float
    median_of_ratios: float


def compare(ours: Call, theirs: Call, rounds: int, seconds: float) -> Comparison:
    """Call both in turn, first one and then the other first, until rounds or seconds are up.

    Each timed call comes right after one of the same side. ONNX Runtime's threads keep spinning
    after a call, so that what runs next shares its cores with them.
    """
    for call in (ours, theirs, ours, theirs):
        call()
    times: dict[Call, list[float]] = {ours: [], theirs: []}
    end = time.perf_counter() + seconds
    for count in range(rounds):
        if count >= FEWEST_ROUNDS and time.perf_counter() > end:
            break
        for call in (ours, theirs) if count % 2 == 0 else (theirs, ours):
            call()  # not timed: the other side's idle threads spin on for a while and take cores
            times[call].append(seconds_of(call))
    mine, other = (statistics.median(times[call]) for call in (ours, theirs))
    ratios = [a / b for a, b in zip(times[ours], times[theirs])]
    return Comparison(len(ratios), mine * 1e3, other * 1e3, mine / other, statistics.median(ratios))


def seconds_of(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def load_milliseconds(path: Path) -> float:
    """The median time to open a kernel file that is in the page cache."""
    return statistics.median(seconds_of(lambda: aivmc.load(path)) for _ in range(5)) * 1e3


def call_microseconds(call: Call, count: int = 2000) -> float:
    return statistics.median(seconds_of(call) for _ in range(count)) * 1e6


def onnxruntime_session(
    model: Path, shapes: Mapping[str, Shape], threads: int
) -> onnxruntime.InferenceSession:
    """ONNX Runtime with all its optimizations, for the same fixed shapes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for dim, size in _sizes_of_symbols(model, shapes).items():
        options.add_free_dimension_override_by_name(dim, size)
    return onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])


def _sizes_of_symbols(model: Path, shapes: Mapping[str, Shape]) -> dict[str, int]:
    """Which size each of the model's symbolic dims has under the fixed shapes."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(model), options)
    return {
        dim: int(size)
        for value in session.get_inputs()
        for dim, size in zip(value.shape, shapes.get(value.name, ()))
        if isinstance(dim, str)
    }


def largest_difference(ours: Mapping[str, Floats], theirs: Mapping[str, Floats]) -> float:
    """The largest difference of any output, relative to that output's largest value."""
    return max(
        float(np.abs(ours[name] - value).max() / max(np.abs(value).max(), 1e-30))
        for name, value in theirs.items()
    )
