"""How the benchmark's results look: tables for people, one object for programs."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime
from rich.table import Table

from examples.bench.measure import Comparison


@dataclass(frozen=True)
class Result:
    """All that was measured of one model; `comparisons` by thread count."""

    model: str
    identity: str
    model_bytes: int
    compile_seconds: float
    compile_peak_bytes: int
    load_ms: float
    largest_difference: float
    comparisons: dict[int, Comparison]


def machine() -> dict[str, object]:
    return {
        "machine": platform.machine(),
        "cpu": _cpu_name(),
        "cores": os.cpu_count(),
        "onnxruntime": onnxruntime.__version__,
    }


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def latency_table(results: list[Result]) -> Table:
    """Ratios of medians and medians of pairwise ratios; differences relative to the scale."""
    table = Table(title="aivmc against ONNX Runtime (a ratio below 1: aivmc is faster)")
    table.add_column("model", no_wrap=True)
    for column in ("threads", "aivmc ms", "ORT ms", "ratio", "paired", "rounds", "diff"):
        table.add_column(column, justify="right")
    for result in results:
        for threads, pair in result.comparisons.items():
            table.add_row(
                result.model,
                str(threads),
                f"{pair.aivmc_ms:.2f}",
                f"{pair.onnxruntime_ms:.2f}",
                f"{pair.ratio_of_medians:.2f}",
                f"{pair.median_of_ratios:.2f}",
                str(pair.rounds),
                f"{result.largest_difference:.0e}",
            )
    return table


def cost_table(results: list[Result]) -> Table:
    table = Table(title="Compile and load")
    table.add_column("model")
    for column in ("model file", "compile", "peak memory", "peak / file", "load"):
        table.add_column(column, justify="right")
    for result in results:
        table.add_row(
            result.model,
            f"{result.model_bytes / 1e6:.1f} MB",
            f"{result.compile_seconds:.1f} s",
            f"{result.compile_peak_bytes / 1e6:.0f} MB",
            f"{result.compile_peak_bytes / result.model_bytes:.1f}",
            f"{result.load_ms:.1f} ms",
        )
    return table
