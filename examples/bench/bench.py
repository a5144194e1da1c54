"""The benchmark: `python -m examples.bench.bench`, aivmc against ONNX Runtime, interleaved.

For each model and thread count: the median latency of both, and the ratio. For each model: time
and peak memory of compiling, time to load. Last the cost of a call itself, on a tiny model.
It reports and asserts nothing: times belong to the machine, bits are what the tests check.
"""

import argparse
import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
from rich.console import Console

import aivmc
from examples.bench.kernels import compiled
from examples.bench.measure import (
    Comparison,
    call_microseconds,
    compare,
    largest_difference,
    load_milliseconds,
    onnxruntime_session,
)
from examples.bench.report import Result, cost_table, latency_table, machine
from examples.bench.subjects import SUBJECTS, Subject
from examples.models.graph import Graph, save
from examples.published import ModelUnavailableError, cache_folder


def measure(name: str, subject: Subject, options: argparse.Namespace) -> Result:
    model = subject.file()
    made = compiled(name, model, options.target, subject.shapes)
    kernel, inputs = aivmc.load(made.path), subject.inputs()
    session = onnxruntime_session(model, subject.shapes, threads=1)
    names = [output.name for output in session.get_outputs()]
    expected = dict(zip(names, session.run(names, inputs)))
    return Result(
        model=name,
        identity=kernel.identity,
        model_bytes=model.stat().st_size,
        compile_seconds=made.seconds,
        compile_peak_bytes=made.peak_bytes,
        load_ms=load_milliseconds(made.path),
        largest_difference=largest_difference(kernel.run(inputs), expected),
        comparisons={
            threads: compare_on(threads, kernel, model, subject, options)
            for threads in options.threads
        },
    )


def compare_on(
    threads: int,
    kernel: aivmc.Kernel,
    model: Path,
    subject: Subject,
    options: argparse.Namespace,
) -> Comparison:
    session = onnxruntime_session(model, subject.shapes, threads)
    inputs = subject.inputs()
    return compare(
        lambda: kernel.run(inputs, threads=threads),
        lambda: session.run(None, inputs),
        options.rounds,
        options.seconds,
    )


def call_overhead(target: str) -> dict[str, float]:
    """Microseconds of one call from Python on a model that does next to nothing."""
    g = Graph("tiny", seed=0)
    x = g.input("x", (4,))
    g.output(g.op("Add", x, g.constant(1.0, np.float32)), "y", (4,))
    model = cache_folder("bench") / "tiny.onnx"
    save(g.model(), str(model))
    kernel = aivmc.load(compiled("tiny", model, target, {}).path)
    session = onnxruntime_session(model, {}, threads=1)
    inputs = {"x": np.zeros(4, np.float32)}
    return {
        "aivmc_us": call_microseconds(lambda: kernel.run(inputs)),
        "onnxruntime_us": call_microseconds(lambda: session.run(["y"], inputs)),
    }


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SUBJECTS]:
        known = ", ".join(SUBJECTS)
        raise argparse.ArgumentTypeError(f"no model {', '.join(unknown)}; there are {known}")
    return names


def _counts(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Compare aivmc with ONNX Runtime.")
    parser.add_argument("--models", type=_names, default=list(SUBJECTS), help="a,b,…")
    parser.add_argument("--threads", type=_counts, default=[1, 2], help="1,2,…")
    parser.add_argument("--rounds", type=int, default=50, help="at most so many calls of each")
    parser.add_argument("--seconds", type=float, default=20.0, help="at most so long a row")
    parser.add_argument("--target", default="native")
    parser.add_argument("--json", action="store_true", help="print only JSON")
    return parser.parse_args()


def main() -> int:
    options = parse_arguments()
    results, failed = [], False
    for name in options.models:
        try:
            results.append(measure(name, SUBJECTS[name], options))
        except (ModelUnavailableError, subprocess.CalledProcessError) as error:
            failed = True
            print(f"{name} is left out: {error}", file=sys.stderr)
    overhead = call_overhead(options.target)
    if options.json:
        report = {"machine": machine(), "target": options.target, "call_overhead": overhead}
        print(json.dumps({**report, "models": [asdict(result) for result in results]}))
    else:
        console = Console()
        console.print(", ".join(f"{key} {value}" for key, value in machine().items()))
        console.print(latency_table(results), cost_table(results))
        console.print("Call overhead: {aivmc_us:.1f} µs".format(**overhead), end=", ")
        console.print("ONNX Runtime {onnxruntime_us:.1f} µs".format(**overhead))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
