"""``aivmc verify``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import typer

from aivmc.cli.arguments import load_plugins
from aivmc.cli.failures import CHECK_FAILED
from aivmc.cli.output import Result, print_json, print_results, print_text, results_json
from aivmc.compiler import Shapes, compile
from aivmc.ir.dims import is_symbol_name
from aivmc.kernel_file.comparison import differences
from aivmc.kernel_file.errors import IntegrityError
from aivmc.kernel_file.manifest import SELFTEST
from aivmc.kernel_file.program import check_program
from aivmc.kernel_file.reader import KernelFile, check_contents, open_kernel
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.signature import Signature
from aivmc.passes.base import Pass
from aivmc.ptx.errors import KernelFault
from aivmc.ptx.gpus import required_gpu
from aivmc.runtime.environment import missing_features
from aivmc.runtime.kernel import CPU, PTX_SIM, open_target
from aivmc.runtime.selftest import SEED, check


def run(
    kernel_path: Path, model: Path | None, plugin_modules: Sequence[str], as_json: bool
) -> None:
    kernel: KernelFile | None = None
    try:
        kernel = open_kernel(kernel_path)
        results = [
            Result("integrity", True, "every byte is what the manifest says"),
            *_inner(kernel),
        ]
        if model is not None:
            results.append(_rebuild(kernel, model, load_plugins(plugin_modules)))
    except IntegrityError as error:
        results = [Result("integrity", False, str(error))]
    failed = any(r.passed is False for r in results)
    if as_json:
        identity = kernel.identity if kernel else None
        print_json({"kernel": identity, "verified": not failed, "checks": results_json(results)})
    else:
        print_results(results)
        if kernel is not None:
            print_text(kernel.identity)
    if failed:
        raise typer.Exit(CHECK_FAILED)


def _inner(kernel: KernelFile) -> list[Result]:
    """The checks that need nothing but the kernel."""
    return [
        _checked(
            "contents", "the archive and every array are sound", lambda: check_contents(kernel)
        ),
        _checked(
            "program", "semantic digest and signature are right", lambda: check_program(kernel)
        ),
        *(_selftest(kernel, name) for name in sorted(kernel.manifest.targets)),
    ]


def _checked(name: str, good: str, action: Callable[[], None]) -> Result:
    try:
        action()
    except IntegrityError as error:
        return Result(name, False, str(error))
    return Result(name, True, good)


def _selftest(kernel: KernelFile, target: str) -> Result:
    name = f"self-test of {target}"
    requires = kernel.manifest.targets[target].requires
    device, missing = (PTX_SIM, ()) if required_gpu(requires) else (CPU, missing_features(requires))
    if missing:
        return Result(name, None, f"this node lacks {', '.join(missing)}")

    def action() -> None:
        executor = open_target(kernel, target, device)[1]
        try:
            wrong = check(
                kernel.manifest.signature,
                kernel.json(SELFTEST),
                lambda inputs: executor.run(inputs, seed=SEED),
            )
        except KernelFault as fault:
            raise IntegrityError(str(fault)) from None
        finally:
            executor.close()
        if wrong:
            raise IntegrityError(f"other bits than recorded in {', '.join(wrong)}")

    return _checked(name, "the outputs' digests are as recorded", action)


def _rebuild(kernel: KernelFile, model: Path, plugins: Sequence[type[Pass]]) -> Result:
    manifest = kernel.manifest
    try:
        policy = SeedPolicy.from_config(manifest.config)
    except IntegrityError as error:
        return Result("rebuild", False, str(error))
    with compile(
        model,
        list(manifest.targets),
        _shapes(manifest.signature),
        policy.value,
        plugins=plugins,
        seed_policy=policy.policy,
    ) as rebuilt:
        if rebuilt.identity == kernel.identity:
            return Result("rebuild", True, f"{model} gives the same kernel")
        parts = ", ".join(d.part for d in differences(kernel, rebuilt.file))
        reason = f"{model} gives {rebuilt.identity}, which differs in {parts}"
        return Result("rebuild", False, reason)


def _shapes(signature: Signature) -> Shapes:
    """The shapes that the kernel was compiled for, as :func:`aivmc.compile` takes them."""
    shapes: dict[str, list[int | str]] = {}
    for name, type in signature.inputs:
        dims = [d if isinstance(d, int) else str(d) for d in type.shape]
        if all(isinstance(d, int) or is_symbol_name(d) for d in dims):
            shapes[name] = dims
    return shapes
