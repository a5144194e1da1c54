"""What receipts, proofs and traces cost: `python -m examples.bench.protocol`.

First what a run takes beyond executing and hashing its inputs and outputs, by seed policy, on a
kernel that does next to nothing. Then models: plain runs, runs with a receipt, and traced ones with
a receipt, in turn in one process, by the wall clock, since hashing uses all threads of the run.
It reports and asserts nothing, as the benchmark of models does.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from onnx import TensorProto, helper
from rich.console import Console
from rich.table import Table

import aivmc
from aivmc.ir.constants import Array
from aivmc.kernel_file.seed_policy import POLICIES
from aivmc.protocol.execution import Session, Tensor
from aivmc.protocol.receipt import write_receipt
from aivmc.runtime.kernel import Kernel, input_digests
from aivmc.trust import ecvrf
from aivmc.trust.keys import PrivateKey
from aivmc.trust.request import Proof, Request
from aivmc.trust.sources import NodeVrf
from examples.bench.kernels import compiled
from examples.bench.measure import seconds_of
from examples.bench.report import machine
from examples.bench.subjects import SUBJECTS

KEY = PrivateKey(bytes(32))
BEACON = bytes(32)
SMALL = 1000  # calls of a kernel that does next to nothing

Call = Callable[[], object]


def interleaved(
    calls: Mapping[str, Call], rounds: int, seconds: float = 1e9
) -> dict[str, list[float]]:
    """Seconds of each round by name; the calls take turns until rounds or seconds are up."""
    for call in calls.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    end = time.perf_counter() + seconds
    for count in range(rounds):
        if count >= 5 and time.perf_counter() > end:
            break
        for name, call in calls.items():
            times[name].append(seconds_of(call))
    return times


def sampler(policy: str) -> Kernel:
    node = helper.make_node("RandomNormalLike", ["x"], ["y"])
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, (6,)) for name in "xy")
    graph = helper.make_graph([node], "sampler", [x], [y])
    return aivmc.compile(helper.make_model(graph, ir_version=9), seed_policy=policy)


def fixed_cost(policy: str) -> dict[str, float]:
    """Microseconds beyond executing and hashing, with a receipt; and a proof's part of them."""
    kernel, inputs = sampler(policy), {"x": np.arange(6, dtype=np.float32)}
    session, seed, proof = Session(kernel.file), bytes(32) if policy == "input" else None, None
    if policy == "vrf":
        source = NodeVrf(KEY.public, "a chain", 1)
        asked = Request(kernel.identity, input_digests(inputs), bytes(32), 1 << 40, source)
        proof = Proof(asked, ecvrf.prove(KEY.seed, asked.alpha(BEACON)), BEACON)
    outputs = session.execute(inputs, 1, seed, proof=proof).arrays
    tensors = [*inputs.values(), *outputs.values()]
    times = interleaved(
        {
            "all": lambda: write_receipt(session.execute(inputs, 1, seed, proof=proof), KEY),
            "run": lambda: kernel.executor.run(inputs, 1, seed or bytes(32)),
            "hash": lambda: list(map(Tensor.of, tensors)),
            "proof": lambda: proof and proof.beta(),
        },
        SMALL,
    )
    found = {name: statistics.median(values) for name, values in times.items()}
    beyond = found["all"] - found["run"] - found["hash"]
    return {"beyond": beyond * 1e6, "proof": found["proof"] * 1e6}


def model_costs(
    session: Session, inputs: Mapping[str, Array], threads: int, options: argparse.Namespace
) -> dict[str, list[float]]:
    def signed(traced: bool) -> object:
        return write_receipt(session.execute(inputs, threads, traced=traced), KEY)

    return interleaved(
        {
            "plain": lambda: session.kernel.run(inputs, threads),
            "receipt": lambda: signed(traced=False),
            "trace": lambda: signed(traced=True),
        },
        options.rounds,
        options.seconds,
    )


def model_table(options: argparse.Namespace) -> Table:
    table = Table(
        title="Medians, in milliseconds, and of what a round takes more than the one before"
    )
    for column in ("model", "target", "threads", "plain", "receipt", "", "trace", ""):
        table.add_column(column, justify="right")
    for name in options.models.split(","):
        subject = SUBJECTS[name]
        for target in options.targets.split(","):
            path = compiled(name, subject.file(), target, subject.shapes).path
            with Session(aivmc.load(path).file) as session:
                for threads in map(int, options.threads.split(",")):
                    found = model_costs(session, subject.inputs(), threads, options)
                    cells = [name, session.target, str(threads)]
                    cells += [f"{statistics.median(found['plain']) * 1e3:.2f}"]
                    for before, seconds in pairwise(found.values()):
                        ratio = statistics.median(a / b for a, b in zip(seconds, before))
                        cells += [f"{statistics.median(seconds) * 1e3:.2f}", f"{ratio - 1:+.1%}"]
                    table.add_row(*cells)
    return table


def main() -> int:
    parser = argparse.ArgumentParser(description="What receipts, proofs and traces cost.")
    parser.add_argument("--models", default="resnet50", help="a,b,…")
    parser.add_argument("--targets", default="x86-64-v3,native", help="a,b,…")
    parser.add_argument("--threads", default="1,2", help="1,2,…")
    parser.add_argument("--rounds", type=int, default=50, help="at most so many calls of each")
    parser.add_argument("--seconds", type=float, default=20.0, help="at most so long a row")
    options = parser.parse_args()
    console = Console()
    console.print(", ".join(f"{key} {value}" for key, value in machine().items()))
    for policy in POLICIES:
        cost = fixed_cost(policy)
        console.print(
            f"seed policy {policy}: a receipt takes {cost['beyond']:.0f} µs beyond executing and "
            f"hashing, a proof {cost['proof']:.0f} µs of them"
        )
    console.print(model_table(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
