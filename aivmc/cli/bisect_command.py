"""``aivmc bisect``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from aivmc.cli.documents import read_document
from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.npz import read_npz
from aivmc.cli.output import print_json, print_table, print_text
from aivmc.ir.constants import Array
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.protocol.dispute import Round, check_comparable, first_difference
from aivmc.protocol.execution import Session, Tensor, bind
from aivmc.protocol.receipt import Receipt, read_receipt
from aivmc.protocol.trace import Trace, leaf_digest, program_digest, read_trace
from aivmc.referee import Case, Operand
from aivmc.runtime.errors import NodeError
from aivmc.runtime.kernel import pick_local
from aivmc.trust.errors import TrustError

NAMES = ("A", "B")


@dataclass(frozen=True)
class Verdict:
    """``wrong`` are the parties that are, by the disputed ``value``; none where there is no
    dispute."""

    wrong: tuple[str, ...]
    value: str
    right: str
    leaf: int | None


def run(
    receipt_paths: tuple[Path, Path],
    trace_paths: tuple[Path, Path],
    kernel_path: Path,
    inputs_path: Path,
    as_json: bool,
) -> None:
    kernel = open_kernel(kernel_path)
    receipts = [read_receipt(read_document(path)) for path in receipt_paths]
    traces = [read_trace(path) for path in trace_paths]
    inputs = read_npz(inputs_path, receipts[0].input_types)
    for name, receipt, trace in zip(NAMES, receipts, traces):
        _check_party(name, receipt, trace, kernel, inputs)
    check_comparable(*receipts)
    leaf, rounds = first_difference(*traces)
    dispute = _Dispute(kernel, inputs, receipts, traces)
    verdict = dispute.about_outputs() if leaf is None else dispute.about(leaf)
    if as_json:
        signers = {n: r.signer.hex() for n, r in zip(NAMES, receipts)}
        print_json(
            {"signers": signers, "rounds": [asdict(r) for r in rounds], "verdict": asdict(verdict)}
        )
    else:
        _print(receipts, rounds, verdict)
    if verdict.wrong:
        raise typer.Exit(CHECK_FAILED)


def _check_party(
    name: str, receipt: Receipt, trace: Trace, kernel: KernelFile, inputs: Mapping[str, Array]
) -> None:
    """What a party must have right before there is a dispute to settle."""
    try:
        receipt.check_request()
        receipt.check_proof()
        receipt.check_kernel(kernel)
        receipt.check_trace(trace)
        receipt.check_inputs(bind(inputs)[1])
        if trace.program != program_digest(kernel, trace.target):
            raise TrustError("the trace is not of the kernel's program")
    except TrustError as error:
        raise TrustError(f"{name} ({receipt.signer.hex()}): {error}") from None


class _Dispute:
    """Two parties, and this node, which provides values that nobody need believe."""

    def __init__(
        self,
        kernel: KernelFile,
        inputs: Mapping[str, Array],
        receipts: Sequence[Receipt],
        traces: Sequence[Trace],
    ) -> None:
        self._kernel = kernel
        self._inputs = inputs
        self._receipts = receipts
        self._traces = traces
        self._target = traces[0].target
        proof, digests = receipts[0].proof, receipts[0].input_digests
        self._seed = proof.seed(kernel.identity, digests) if proof else receipts[0].seed

    def about(self, leaf: int) -> Verdict:
        """Who is wrong about a leaf before which both agree."""
        case = self._case(leaf)
        values, _ = self._provide(case.needed)
        operands = [
            Operand(n, values[n], [trace.tree.proof(n) for trace in self._traces])
            for n in case.needed
        ]
        right = case.judge([trace.root for trace in self._traces], operands)
        wrong = [n for n, t in zip(NAMES, self._traces) if t.digests[leaf] != right]
        return Verdict(tuple(wrong), case.description, right.hex(), leaf)

    def about_outputs(self) -> Verdict:
        """Who is wrong about the outputs, where both agree on every value."""
        names = sorted(self._receipts[0].outputs)
        differing = [
            n for n in names if self._receipts[0].outputs[n] != self._receipts[1].outputs.get(n)
        ]
        if not differing:
            return Verdict((), "no value: the nodes agree", "", None)
        name = differing[0]
        leaf = self._case(0).output_leaves[name]
        values, outputs = self._provide([leaf])
        if leaf_digest(values[leaf]) != self._traces[0].digests[leaf]:
            raise TrustError(f"this node computes another {name} than both nodes' traces have")
        right = outputs[name]
        wrong = [n for n, r in zip(NAMES, self._receipts) if r.outputs[name] != right]
        return Verdict(tuple(wrong), f"output {name} : {right.type}", right.sha256, leaf)

    def _case(self, leaf: int) -> Case:
        return Case(self._kernel, self._target, self._inputs, self._seed, leaf)

    def _provide(self, leaves: Sequence[int]) -> tuple[dict[int, Array], dict[str, Tensor]]:
        """The values of these leaves, and the outputs, as this node computes them."""
        values: dict[int, Array] = {}
        count = 0

        def observe(_: int, results: Sequence[Array]) -> None:
            nonlocal count
            for array in results:
                if count in leaves:
                    values[count] = array.copy()
                count += 1

        with Session(self._kernel, *self._local_target()) as session:
            receipt = self._receipts[0]
            outputs = session.again(self._inputs, receipt.seed, receipt.proof, observe)
        return values, outputs

    def _local_target(self) -> tuple[str, str]:
        """A target of the program that the traces are of, and the device that runs it here."""
        program, targets = self._traces[0].program, self._kernel.manifest.targets
        same = {n: t for n, t in targets.items() if program_digest(self._kernel, n) == program}
        try:
            return pick_local(same)
        except NodeError as error:
            raise AivmcError(f"this node runs no target of the traces' program: {error}") from None


def _print(receipts: Sequence[Receipt], rounds: Sequence[Round], verdict: Verdict) -> None:
    rows = (
        (str(i), f"{r.begin}..{r.end - 1}", "equal" if r.agree else "different")
        for i, r in enumerate(rounds, 1)
    )
    print_table(("round", "values", ""), rows)
    where = "" if verdict.leaf is None else f" {verdict.leaf}"
    print_text(f"disputed value{where}: {verdict.value}")
    for name, receipt in zip(NAMES, receipts):
        word = "WRONG" if name in verdict.wrong else "right"
        print_text(f"{name} is {word}: {receipt.signer.hex()}")
