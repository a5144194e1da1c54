"""``aivmc vrf …``: names, options and help."""

# Every command imports its module when it is called, as in app.py.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.callback()
def vrf() -> None:
    """Prove and verify random numbers: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381.

    Keys are Ed25519 keys in PKCS 8 PEM files, which only their owner may read.
    """


@app.command()
def keygen(
    out: Annotated[Path, typer.Option(metavar="KEY.pem", help="A new file for the key.")],
    json: Json = False,
) -> None:
    """Make a private key, and print its public key.

    Example:

        aivmc vrf keygen --out key.pem
    """
    from aivmc.cli import vrf_command

    vrf_command.keygen(out, json)


@app.command()
def prove(
    key: Annotated[Path, typer.Option(metavar="KEY.pem", help="The private key.")],
    alpha: Annotated[
        str | None, typer.Option(metavar="HEX", help="What the proof is about, in hex.")
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(metavar="REQUEST.json", help="The request, in place of alpha."),
    ] = None,
    beacon: Annotated[
        str | None, typer.Option(metavar="HEX", help="The value of the request's beacon.")
    ] = None,
    json: Json = False,
) -> None:
    """Print the random bytes beta that the key draws for alpha, and the proof.

    Examples:

        aivmc vrf prove --key key.pem --alpha 2a2b
        aivmc vrf prove --key key.pem --request request.json --beacon HEX
    """
    from aivmc.cli import vrf_command

    vrf_command.prove(key, alpha, request, beacon, json)


@app.command()
def verify(
    public_key: Annotated[str, typer.Option(metavar="HEX", help="32 bytes, in hex.")],
    alpha: Annotated[str, typer.Option(metavar="HEX", help="What the proof is about, in hex.")],
    proof: Annotated[str, typer.Option(metavar="HEX", help="80 bytes, in hex.")],
    json: Json = False,
) -> None:
    """Verify a proof, and print the random bytes beta that it proves.

    Exit code 1 where the proof is not valid.

    Example:

        aivmc vrf verify --public-key HEX --alpha 2a2b --proof HEX
    """
    from aivmc.cli import vrf_command

    vrf_command.verify(public_key, alpha, proof, json)
