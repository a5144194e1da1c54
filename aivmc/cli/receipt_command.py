"""``aivmc receipt``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import typer

from aivmc.cli.documents import read_document
from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.npz import read_npz
from aivmc.cli.output import Result, print_json, print_results, print_text, results_json
from aivmc.ir.constants import Array
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.protocol.execution import Session, bind
from aivmc.protocol.receipt import Receipt, read_receipt
from aivmc.protocol.trace import read_trace
from aivmc.runtime.kernel import pick_local
from aivmc.trust.errors import TrustError
from aivmc.trust.keys import read_public_key
from aivmc.trust.sources import parse_request


@dataclass(frozen=True)
class Options:
    """What to check beside the receipt itself."""

    kernel: Path | None = None
    inputs: Path | None = None
    rerun: bool = False
    public_key: Path | None = None
    request: Path | None = None
    nonces: Path | None = None
    trace: Path | None = None


def verify(path: Path, options: Options, as_json: bool) -> None:
    if options.rerun and not (options.kernel and options.inputs):
        raise AivmcError("--rerun needs --kernel and --inputs")
    receipt = read_receipt(read_document(path))
    signature = Result("signature", True, f"by {receipt.signer.hex()}")
    results = [signature, *_own(receipt, options), *_against_files(receipt, options)]
    failed = any(r.passed is False for r in results)
    if as_json:
        print_json(
            {
                "kernel": receipt.kernel,
                "signer": receipt.signer.hex(),
                "verified": not failed,
                "checks": results_json(results),
            }
        )
    else:
        print_results(results)
        print_text(receipt.kernel)
    if failed:
        raise typer.Exit(CHECK_FAILED)


def _own(receipt: Receipt, options: Options) -> Iterator[Result]:
    """The checks that need neither kernel nor inputs."""
    if options.public_key:
        key = read_public_key(options.public_key)
        yield _checked("signer", "it is the given key", lambda: receipt.check_signer(key))
    if receipt.request is None:
        yield Result("request", None, "it answers none, so it may be of any time")
    else:
        nonce = receipt.request.nonce.hex()
        yield _checked("request", f"answered in time, nonce {nonce}", receipt.check_request)
    if options.request:
        asked = parse_request(read_document(options.request))
        yield _checked("answer", "to the given request", lambda: receipt.check_answers(asked))
    if receipt.proof is None:
        reason = f"none is needed where the seed policy is {receipt.seed_policy}"
        yield Result("proof", None, reason)
    else:
        yield _checked("proof", "it is valid for the request", receipt.check_proof)
    if options.nonces:
        store = options.nonces
        yield _checked("nonce", "it is new", lambda: receipt.check_new(store))
    if options.trace:
        trace = read_trace(options.trace)
        yield _checked("trace", "it commits to it", lambda: receipt.check_trace(trace))


def _against_files(receipt: Receipt, options: Options) -> Iterator[Result]:
    """The checks against the kernel and inputs that are given."""
    if options.kernel is None:
        yield Result("kernel", None, "give --kernel to check types and seed policy")
        kernel = None
    else:
        kernel = open_kernel(options.kernel)
        yield _checked("kernel", "it is for this kernel", lambda: receipt.check_kernel(kernel))
    if options.inputs is None:
        yield Result("inputs", None, "give --inputs to check their digests")
        return
    arrays = read_npz(options.inputs, receipt.input_types)
    yield _checked(
        "inputs", "it is for these inputs", lambda: receipt.check_inputs(bind(arrays)[1])
    )
    if options.rerun and kernel:
        yield _checked(
            "rerun", "this node computes the same bits", lambda: _rerun(receipt, kernel, arrays)
        )
    else:
        yield Result("rerun", None, "give --rerun to compute the outputs again")


def _rerun(receipt: Receipt, kernel: KernelFile, arrays: dict[str, Array]) -> None:
    with Session(kernel, *pick_local(kernel.manifest.targets)) as session:
        receipt.check_outputs(session.again(arrays, receipt.seed, receipt.proof))


def _checked(name: str, good: str, action: Callable[[], None]) -> Result:
    try:
        action()
    except TrustError as error:
        return Result(name, False, str(error))
    return Result(name, True, good)
