"""``aivmc vrf``."""

from __future__ import annotations

from pathlib import Path

from aivmc.cli.documents import hex_bytes, read_document
from aivmc.cli.output import print_json, print_text
from aivmc.ir.errors import AivmcError
from aivmc.trust import ecvrf
from aivmc.trust.keys import PrivateKey, read_private_key, write_private_key
from aivmc.trust.sources import NodeVrf, parse_request


def keygen(path: Path, as_json: bool) -> None:
    key = PrivateKey.generate()
    write_private_key(path, key)
    _print({"key": str(path), "public_key": key.public.hex()}, as_json)


def prove(
    key_path: Path, alpha: str | None, request: Path | None, beacon: str | None, as_json: bool
) -> None:
    if (alpha is None) == (request is None) or (request is None and beacon is not None):
        raise AivmcError("give what the proof is about: --alpha, or --request with --beacon")
    key = read_private_key(key_path)
    if request is not None:
        message = _alpha(request, beacon or "", key)
    else:
        message = hex_bytes(alpha or "", "--alpha")
    proof = ecvrf.prove(key.seed, message)
    beta = ecvrf.proof_to_beta(proof)
    _print({"public_key": key.public.hex(), "beta": beta.hex(), "proof": proof.hex()}, as_json)


def _alpha(path: Path, beacon: str, key: PrivateKey) -> bytes:
    request = parse_request(read_document(path))
    if not isinstance(request.source, NodeVrf) or request.source.public_key != key.public:
        raise AivmcError(f"{path} doesn't ask for the VRF of this key, {key.public.hex()}")
    return request.alpha(hex_bytes(beacon, "--beacon"))


def verify(public_key: str, alpha: str, proof: str, as_json: bool) -> None:
    public, message = hex_bytes(public_key, "--public-key"), hex_bytes(alpha, "--alpha")
    beta = ecvrf.verify(public, message, hex_bytes(proof, "--proof"))
    _print({"valid": True, "beta": beta.hex()}, as_json)


def _print(facts: dict[str, str | bool], as_json: bool) -> None:
    if as_json:
        print_json(facts)
    else:
        print_text("\n".join(f"{name.replace('_', ' ')}: {value}" for name, value in facts.items()))
