"""``aivmc receipt …``: names, options and help."""

# Every command imports its module when it is called, as in app.py.

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, rich_markup_mode="markdown")


@app.callback()
def receipt() -> None:
    """Check receipts, which `aivmc run --receipt` writes."""


@app.command()
def verify(
    receipt: Annotated[Path, typer.Argument(metavar="R.json", help="A receipt.")],
    kernel: Annotated[
        Path | None, typer.Option(metavar="K.aivm", help="Check that it is for this kernel.")
    ] = None,
    inputs: Annotated[
        Path | None, typer.Option(metavar="IN.npz", help="Check that it is for these inputs.")
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run the kernel on the inputs, and compare the bits.")
    ] = False,
    public_key: Annotated[
        Path | None,
        typer.Option(metavar="NODE.pub", help="Check that this key signed it: PEM, as OpenSSL's."),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(metavar="REQUEST.json", help="Check that it answers this request."),
    ] = None,
    nonces: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keeps the nonces of receipts: the second with one is a replay."
        ),
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="T.bin", help="Check that it commits to this trace.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
) -> None:
    """Check a receipt: signature, request, proof of randomness; and what options add.

    A signature shows who signed, not that the bits are right: that is for `--rerun`.
    Exit code 1 where a check fails.

    Examples:

        aivmc receipt verify r.json --public-key node.pub
        aivmc receipt verify r.json --kernel model.aivm --inputs in.npz --rerun
    """
    from aivmc.cli import receipt_command

    options = receipt_command.Options(kernel, inputs, rerun, public_key, request, nonces, trace)
    receipt_command.verify(receipt, options, json)
