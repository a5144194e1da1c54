"""Elementary functions against ONNX Runtime's: `python -m examples.bench.functions`.

One op on 1 M elements with one thread, both sides interleaved in one process. It reports and
asserts nothing, as the benchmark of models does.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

import aivmc
from examples.bench.measure import Comparison, compare, onnxruntime_session
from examples.bench.report import machine

OPSET = 20  # the first with Gelu
IR_VERSION = 9
SIZE = 2**20
# Operator, and the range that its operands are drawn from.
FUNCTIONS = {
    "Exp": (-80.0, 80.0),
    "Tanh": (-4.0, 4.0),
    "Sigmoid": (-20.0, 20.0),
    "Erf": (-3.0, 3.0),
    "Gelu": (-5.0, 5.0),
    "Log": (0.0, 100.0),
    "Sin": (-100.0, 100.0),
    "Cos": (-100.0, 100.0),
    "Softplus": (-20.0, 20.0),
    "Mish": (-20.0, 20.0),
}


def one_op(function: str) -> onnx.ModelProto:
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (SIZE,)) for name in "xy")
    graph = helper.make_graph([helper.make_node(function, ["x"], ["y"])], function, [x], [y])
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets)


def operands(function: str) -> NDArray[np.float32]:
    random = np.random.Generator(np.random.PCG64(1))
    low, high = FUNCTIONS[function]
    return random.uniform(low, high, SIZE).astype(np.float32)


def measure(function: str, folder: Path, options: argparse.Namespace) -> Comparison:
    path = folder / f"{function}.onnx"
    onnx.save(one_op(function), path)
    kernel = aivmc.compile(path, target=options.target)
    session = onnxruntime_session(path, {}, threads=1)
    inputs = {"x": operands(function)}
    return compare(
        lambda: kernel.run(inputs, threads=1),
        lambda: session.run(None, inputs),
        options.rounds,
        options.seconds,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="Compare functions with ONNX Runtime.")
    parser.add_argument("functions", nargs="*", default=list(FUNCTIONS))
    parser.add_argument("--rounds", type=int, default=200, help="at most so many calls of each")
    parser.add_argument("--seconds", type=float, default=3.0, help="at most so long a function")
    parser.add_argument("--target", default="native")
    options = parser.parse_args()
    table = Table(title=f"{SIZE} elements, 1 thread (a ratio below 1: aivmc is faster)")
    for column in ("function", "aivmc ms", "ORT ms", "ratio", "paired"):
        table.add_column(column, justify="right" if column != "function" else "left")
    with tempfile.TemporaryDirectory() as folder:
        for function in options.functions:
            pair = measure(function, Path(folder), options)
            times = (pair.aivmc_ms, pair.onnxruntime_ms)
            ratios = (pair.ratio_of_medians, pair.median_of_ratios)
            table.add_row(function, *(f"{x:.3f}" for x in times), *(f"{x:.2f}" for x in ratios))
    console = Console()
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()))
    console.print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
