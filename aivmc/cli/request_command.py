"""``aivmc request``."""

from __future__ import annotations

import re
import time
from pathlib import Path

from aivmc.cli.documents import hex_bytes, seed_bytes
from aivmc.cli.npz import read_npz
from aivmc.cli.output import print_json, print_text
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.atomic import atomic_file
from aivmc.kernel_file.reader import open_kernel
from aivmc.runtime.kernel import input_digests
from aivmc.trust.documents import canonical
from aivmc.trust.request import Request, Source
from aivmc.trust.sources import QUICKNET, Drand, NodeVrf, request_from_json

_ROUND = re.compile(r"(.+)@(\d{1,15})", re.ASCII)


def run(
    kernel_path: Path,
    inputs_path: Path,
    out: Path,
    vrf: str | None,
    beacon: str | None,
    seed: str | None,
    nonce: str | None,
    valid: int,
    as_json: bool,
) -> None:
    kernel = open_kernel(kernel_path)
    inputs = read_npz(inputs_path, dict(kernel.manifest.signature.inputs))
    request = Request(
        kernel.identity,
        input_digests(inputs),
        Request.new_nonce() if nonce is None else hex_bytes(nonce, "--nonce"),
        int(time.time()) + valid,
        _source(vrf, beacon),
        None if seed is None else seed_bytes(seed),
    )
    data = request.to_json()
    request_from_json(data)  # refuses what its reader would refuse
    with atomic_file(out) as file:
        file.write(canonical(data))
    if as_json:
        print_json({"file": str(out), "digest": request.digest().hex(), "request": data})
    else:
        print_text(f"request: {request.digest().hex()}\nnonce: {request.nonce.hex()}\n{out}")


def _source(vrf: str | None, beacon: str | None) -> Source | None:
    if beacon is None:
        if vrf is not None:
            raise AivmcError(
                "--vrf needs --beacon: whose value enters alpha, so that nobody grinds"
            )
        return None
    match = _ROUND.fullmatch(beacon)
    if match is None:
        raise AivmcError(f"--beacon {beacon!r} is not of the form CHAIN@ROUND, as in quicknet@1000")
    chain, round = match[1], int(match[2])
    if vrf is not None:
        return NodeVrf(hex_bytes(vrf, "--vrf"), chain, round)
    return Drand(QUICKNET if chain == "quicknet" else hex_bytes(chain, "--beacon"), round)
