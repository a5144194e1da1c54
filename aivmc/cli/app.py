"""The commands: names, options and help. What they do is in a module each."""

# Every command imports its module when it is called: `aivmc --help` must not wait for a compiler.

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from aivmc.cli import receipt_app, vrf_app
from aivmc.cli.failures import GuardedCommands

app = typer.Typer(
    name="aivmc",
    cls=GuardedCommands,
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(receipt_app.app, name="receipt")
app.add_typer(vrf_app.app, name="vrf")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
KernelPath = Annotated[Path, typer.Argument(metavar="K.aivm", help="A kernel file.")]
Inputs = Annotated[Path, typer.Option(metavar="IN.npz", help="Arrays by input name.")]
Targets = Annotated[
    list[str],
    typer.Option(
        "-t",
        "--target",
        metavar="TARGET",
        help="x86-64-v3 (the default; also: cpu, llvm), x86-64-v4, or native: the best for this "
        "machine; cuda for NVIDIA GPUs, cuda:sm_80 for those from that one on. Several make a "
        "kernel that holds code for each.",
    ),
]
Shapes = Annotated[
    list[str],
    typer.Option(
        "--shape",
        metavar="NAME=D,D,…",
        help="Dims of an input, numbers or names; those not given stay as the model has them.",
    ),
]
Seed = Annotated[
    int | None, typer.Option(metavar="N", help="Decides what random ops draw. Default: 0.")
]
SeedPolicy = Annotated[
    str | None,
    typer.Option(
        metavar="fixed|input|vrf",
        help="Where the seed of random ops comes from: it is fixed now, or 32 bytes come with each "
        "run, chosen freely (input) or derived from a verified proof (vrf). Default: fixed.",
    ),
]
Plugins = Annotated[
    list[str],
    typer.Option("--pass-plugin", metavar="MODULE", help="A Python module with passes to add."),
]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aivmc {version('aivmc')}")
        raise typer.Exit


@app.callback()
def aivmc(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print it."),
    ] = False,
) -> None:
    """Compile neural networks into kernels that give the same bits on every node.

    Typical use:

        aivmc compile model.onnx
        aivmc run model.aivm --inputs in.npz --output out.npz
        aivmc verify model.aivm model.onnx

    Exit codes: 0 good, 1 a check failed, 2 bad usage or bad input.
    """


@app.command()
def compile(
    model: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="An ONNX model.")],
    target: Targets = [],  # noqa: B006 (typer's way)
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="K.aivm", help="Default: MODEL.aivm beside it."),
    ] = None,
    shape: Shapes = [],  # noqa: B006
    seed: Seed = None,
    seed_policy: SeedPolicy = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="aivm.toml", help="Settings; options go before them. See aivmc config."
        ),
    ] = None,
    dump_ir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the program there after each pass.")
    ] = None,
    print_after: Annotated[
        list[str], typer.Option(metavar="PASS", help="Print the program after this pass.")
    ] = [],  # noqa: B006
    pass_plugin: Plugins = [],  # noqa: B006
    provenance: Annotated[
        Path | None,
        typer.Option(
            metavar="P.json", help="Write how and where it was compiled, signed by the key."
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="KEY.pem", help="The private key, as of aivmc vrf keygen."),
    ] = None,
    json: Json = False,
) -> None:
    """Compile a model into a kernel file and print the kernel's identity.

    The same model and options give the same identity on every machine.

    Examples:

        aivmc compile model.onnx
        aivmc compile model.onnx -t x86-64-v3 -t x86-64-v4 -o fat.aivm
        aivmc compile ocr.onnx --shape x=1,3,48,320
        aivmc compile ocr.onnx --shape x=N,3,48,W --dump-ir ir/
        aivmc compile sampler.onnx --seed-policy input
        aivmc compile model.onnx --config aivm.toml --provenance p.json --key key.pem
    """
    from aivmc.cli import compile_command

    kernel = output or model.with_suffix(".aivm")
    files = compile_command.Files(model, kernel, dump_ir, provenance, key)
    options = compile_command.Options(config, target, shape, seed, seed_policy, pass_plugin)
    compile_command.run(files, options, print_after, json)


@app.command()
def config(
    file: Annotated[
        Path | None, typer.Argument(metavar="[aivm.toml]", help="Settings; without, the defaults.")
    ] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema.")] = False,
    json: Json = False,
) -> None:
    """Print the resolved configuration: every setting that could decide a kernel.

    What is printed is itself an aivm.toml. With --json it comes with what enters the manifest.

    Examples:

        aivmc config
        aivmc config aivm.toml --json
    """
    from aivmc.cli import config_command

    config_command.run(file, schema, json)


@app.command()
def run(
    kernel: KernelPath,
    inputs: Inputs,
    output: Annotated[Path, typer.Option(metavar="OUT.npz", help="Where the outputs go.")],
    threads: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Default: one for each core.")
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="64 hex digits, for kernels with the seed policy input."),
    ] = None,
    request: Annotated[
        Path | None,
        typer.Option(metavar="REQUEST.json", help="What the run answers; see aivmc request."),
    ] = None,
    proof: Annotated[
        str | None,
        typer.Option(
            metavar="HEX",
            help="The request's VRF proof or drand signature, for kernels with the seed policy "
            "vrf. It is verified before anything is executed.",
        ),
    ] = None,
    beacon: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="The beacon's value that the VRF proof is about."),
    ] = None,
    nonces: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Keeps the nonces of requests: each is answered once."),
    ] = None,
    receipt: Annotated[
        Path | None,
        typer.Option(metavar="R.json", help="Write a receipt, signed by the key."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(metavar="NODE.pem", help="The node's private key, as of aivmc vrf keygen."),
    ] = None,
    trace: Annotated[
        Path | None,
        typer.Option(
            metavar="T.bin",
            help="Write a digest of every value computed. The receipt commits to it.",
        ),
    ] = None,
    device: Annotated[
        str,
        typer.Option(
            metavar="cpu|cuda|ptx-sim",
            help="cuda is an NVIDIA GPU; ptx-sim executes the code for it on this CPU, checked.",
        ),
    ] = "cpu",
    json: Json = False,
) -> None:
    """Run a kernel on the arrays in an .npz file and print the digests of inputs and outputs.

    Any number of threads gives the same bits, and equal outputs make equal .npz files. The kernel's
    self-test is run first.

    Examples:

        aivmc run model.aivm --inputs in.npz --output out.npz --threads 2
        aivmc run model.aivm --inputs in.npz --output out.npz --receipt r.json --key node.pem
        aivmc run sampler.aivm --inputs in.npz --output out.npz --request q.json --proof HEX
        aivmc run model.aivm --inputs in.npz --output out.npz --device ptx-sim
    """
    from aivmc.cli import run_command

    randomness = run_command.Randomness(seed, request, beacon, proof, nonces)
    signed = run_command.Signed(receipt, key, trace)
    run_command.run(kernel, inputs, output, threads, device, randomness, signed, json)


@app.command()
def request(
    kernel: KernelPath,
    inputs: Inputs,
    out: Annotated[Path, typer.Option(metavar="REQUEST.json", help="Where the request goes.")],
    vrf: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="Public key of the node whose VRF is to be drawn from."),
    ] = None,
    beacon: Annotated[
        str | None,
        typer.Option(
            metavar="CHAIN@ROUND",
            help="Whose value in which round, not known yet, enters the VRF's alpha; without --vrf "
            "the drand network that is drawn from: quicknet, or its public key in hex.",
        ),
    ] = None,
    seed: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="64 hex digits, for kernels with the seed policy input."),
    ] = None,
    nonce: Annotated[
        str | None, typer.Option(metavar="HEX", help="32 bytes in hex. Default: random.")
    ] = None,
    valid: Annotated[
        int, typer.Option(metavar="SECONDS", min=1, max=1 << 32, help="Until it expires.")
    ] = 3600,
    json: Json = False,
) -> None:
    """Write a request to run a kernel on these inputs, before its randomness is known.

    Examples:

        aivmc request model.aivm --inputs in.npz --out request.json
        aivmc request sampler.aivm --inputs in.npz --out request.json --beacon quicknet@12345678
        aivmc request sampler.aivm --inputs in.npz --out r.json --vrf HEX --beacon eip155:1@21000000
    """
    from aivmc.cli import request_command

    request_command.run(kernel, inputs, out, vrf, beacon, seed, nonce, valid, json)


@app.command()
def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="K.aivm|MODEL.onnx", help="A kernel file, or a model.")
    ],
    stage: Annotated[
        str | None,
        typer.Option(
            metavar="onnx|det|canonical|kernel|llvm|asm|audit|cost",
            help="Print the program as it is at this stage. onnx and det: of a model only. cost: "
            "what its launches cost on a GPU; of a kernel, with --shape for inputs of these sizes.",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("-t", "--target", help="Whose code, for kernel, llvm, asm, audit and cost."),
    ] = None,
    shape: Shapes = [],  # noqa: B006
    gpu: Annotated[
        str | None,
        typer.Option(metavar="A100|H100|RTX 4090|T4", help="Whose cost; A100 if not given."),
    ] = None,
    json: Json = False,
) -> None:
    """Show what a kernel is: signature, identity part by part, memory plan; or its program.

    A model is compiled first, in memory.

    Examples:

        aivmc inspect model.aivm
        aivmc inspect model.aivm --stage canonical
        aivmc inspect model.onnx --stage asm -t x86-64-v4
        aivmc inspect model.aivm --stage cost --gpu H100 --shape x=8,3,224,224
    """
    from aivmc.cli import inspect_command

    inspect_command.run(file, stage, target, shape, gpu, json)


@app.command()
def opt(
    file: Annotated[Path, typer.Argument(metavar="FILE.air", help="A program; - reads stdin.")],
    passes: Annotated[
        str,
        typer.Option(
            "-p", "--passes", metavar="PASS,…", help="Passes or pipelines, with their options."
        ),
    ],
    print_after: Annotated[
        list[str], typer.Option(metavar="PASS", help="Print the program after this pass, too.")
    ] = [],  # noqa: B006
    pass_plugin: Plugins = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Run passes on the text of a program and print the program that they make.

    Examples:

        aivmc opt program.air -p canonicalize
        aivmc opt program.air -p "fold-constants{limit=1000},canonicalize"
        aivmc opt program.air -p my-pass --pass-plugin my_package.my_passes
    """
    from aivmc.cli import opt_command

    opt_command.run(file, passes, print_after, pass_plugin, json)


@app.command()
def verify(
    kernel: KernelPath,
    model: Annotated[
        Path | None,
        typer.Argument(metavar="[MODEL.onnx]", help="Rebuild the kernel from this model, too."),
    ] = None,
    pass_plugin: Plugins = [],  # noqa: B006
    json: Json = False,
) -> None:
    """Check a kernel: integrity, self-test, and with the model that a rebuild is identical.

    Exit code 1 where a check fails.

    Examples:

        aivmc verify model.aivm
        aivmc verify model.aivm model.onnx
    """
    from aivmc.cli import verify_command

    verify_command.run(kernel, model, pass_plugin, json)


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A.aivm", help="A kernel file.")],
    b: Annotated[Path, typer.Argument(metavar="B.aivm", help="Another one.")],
    json: Json = False,
) -> None:
    """Say which parts of two kernels' identities differ, down to the op.

    Exit code 0 where the kernels are the same, 1 where they differ.

    Example:

        aivmc diff a.aivm b.aivm
    """
    from aivmc.cli import diff_command

    diff_command.run(a, b, json)


@app.command()
def bisect(
    a: Annotated[Path, typer.Argument(metavar="A.json", help="A node's receipt.")],
    b: Annotated[Path, typer.Argument(metavar="B.json", help="Another's for the same.")],
    traces: Annotated[
        tuple[Path, Path],
        typer.Option(metavar="A.bin B.bin", help="The traces that the receipts commit to."),
    ],
    kernel: Annotated[Path, typer.Option(metavar="K.aivm", help="The kernel.")],
    inputs: Inputs,
    json: Json = False,
) -> None:
    """Settle a dispute: find the first value in which two runs differ, and who is wrong.

    The value is found in log2 of their number rounds. The referee computes it alone, by the
    reference semantics, from values that both agree on, which this node provides.
    Exit code 1 where somebody is wrong.

    Example:

        aivmc bisect a.json b.json --traces a.bin b.bin --kernel model.aivm --inputs in.npz
    """
    from aivmc.cli import bisect_command

    bisect_command.run((a, b), traces, kernel, inputs, json)


@app.command()
def audit(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder of receipts, *.json.")],
    html: Annotated[
        Path | None, typer.Option(metavar="REPORT.html", help="Write the report as a page, too.")
    ] = None,
    json: Json = False,
) -> None:
    """Verify a folder of receipts, and show who disagrees with whom.

    Receipts for one kernel, the same inputs and the same seed must have the same outputs.
    Exit code 1 where some don't, or where a file is refused.

    Example:

        aivmc audit receipts/ --html report.html
    """
    from aivmc.cli import audit_command

    audit_command.run(folder, html, json)


@app.command()
def doctor(
    kernel: Annotated[
        Path | None,
        typer.Argument(metavar="[K.aivm]", help="Compare this node with what the kernel needs."),
    ] = None,
    json: Json = False,
) -> None:
    """Say what this node is, which targets it runs, and whether it can compile.

    With a kernel: what each of its targets needs beside what this node has, and its self-test.
    Exit code 1 where it runs no target, or computes other bits.

    Example:

        aivmc doctor model.aivm
    """
    from aivmc.cli import doctor_command

    doctor_command.run(kernel, json)
