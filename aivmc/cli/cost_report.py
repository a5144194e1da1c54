"""``aivmc inspect --stage cost``: what a kernel's launches cost on a named GPU, without one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from aivmc.backends.cuda.cost import LaunchCost, Launched, launch_cost
from aivmc.backends.cuda.occupancy import GPUS, MULTIPROCESSORS, Multiprocessor
from aivmc.backends.cuda.padding import FoldPadding
from aivmc.backends.cuda.ptxas import Usage, find_ptxas, usages
from aivmc.backends.steps import kernel_ops
from aivmc.cli.output import bytes_text, print_json, print_table, print_text
from aivmc.ir.binding import bind_symbols
from aivmc.ir.dims import evaluate
from aivmc.ir.errors import AivmcError
from aivmc.kernel_file.manifest import SELFTEST
from aivmc.kernel_file.program import kernel_program
from aivmc.kernel_file.reader import KernelFile
from aivmc.ptx.gate import admit
from aivmc.ptx.gpus import OLDEST, capability, required_gpu
from aivmc.runtime.kernel import pick_gpu_target
from aivmc.runtime.launches import LaunchPlan

DEFAULT_GPU = "A100"


def print_costs(
    kernel: KernelFile,
    target: str | None,
    gpu: str | None,
    shapes: Mapping[str, Sequence[int | str]],
    as_json: bool,
) -> None:
    gpu = gpu or DEFAULT_GPU
    if gpu not in GPUS:
        raise AivmcError(f"nothing is known of the GPU {gpu!r}: choose one of {', '.join(GPUS)}")
    architecture = GPUS[gpu].architecture
    target = pick_gpu_target(kernel.manifest.targets, target, capability(architecture))
    symbols = _symbols(kernel, shapes)
    used, source = _usages(_ptx(kernel, target), architecture)
    costs = _costs(kernel, target, symbols, gpu, used)
    if as_json:
        print_json(_json(target, gpu, symbols, source, costs))
    else:
        _print(target, gpu, symbols, source, costs)


def _symbols(kernel: KernelFile, shapes: Mapping[str, Sequence[int | str]]) -> dict[str, int]:
    """The dims' sizes: those of the self-test where ``shapes`` doesn't give others."""
    signature = kernel.manifest.signature
    tested = {str(n): int(v) for n, v in kernel.json(SELFTEST)["symbols"].items()}
    unknown = shapes.keys() - {name for name, _ in signature.inputs}
    if unknown:
        raise AivmcError(f"there is no input {min(unknown)!r}")
    given = {name: shapes[name] for name, _ in signature.inputs if name in shapes}
    for name, type in signature.inputs:
        for dim, size in zip(type.shape, given.get(name, ())):
            if not isinstance(size, int):
                raise AivmcError(f"--shape {name} has {size!r} where the cost needs a number")
            if str(dim) in tested:
                tested[str(dim)] = size
    sizes = {
        name: tuple(int(d) for d in given.get(name, ()))
        or tuple(evaluate(d, tested) for d in type.shape)
        for name, type in signature.inputs
    }
    bounds = {name: (b.low, b.high) for name, b in signature.symbols.items()}
    return bind_symbols(signature.inputs, sizes, signature.constraints, bounds)


def _ptx(kernel: KernelFile, target: str) -> str:
    code = kernel.manifest.targets[target].code
    return kernel.text(f"targets/{target}/{code}")


def _usages(ptx: str, architecture: str) -> tuple[dict[str, Usage], str]:
    """Registers and spills by kernel, and where they come from, in words."""
    ptxas = find_ptxas()
    if ptxas is None:
        return {}, "unknown: ptxas is not installed"
    found = usages(ptxas, ptx, architecture)
    if found is None:
        return {}, f"unknown: this ptxas can't assemble for {architecture}"
    return found, f"by ptxas, for {architecture}"


def _costs(
    kernel: KernelFile,
    target: str,
    symbols: Mapping[str, int],
    gpu: str,
    used: Mapping[str, Usage],
) -> list[LaunchCost]:
    plan = LaunchPlan.from_json(kernel.json(f"targets/{target}/plan.json"))
    sizes = plan.plan.sizes(symbols)
    requires = kernel.manifest.targets[target].requires
    kernels = admit(_ptx(kernel, target), required_gpu(requires) or OLDEST).module.kernels
    ops = kernel_ops(FoldPadding().run(kernel_program(kernel, target)))
    costs = []
    for op, launch, tasks in zip(ops, plan.launches, sizes.tasks, strict=True):
        launched = Launched(
            kernel=launch.function,
            blocks=launch.blocks(tasks, sizes.scratch),
            threads=launch.threads,
            shared=kernels[launch.function].shared_bytes,
            usage=used.get(launch.function),
        )
        costs.append(launch_cost(op, symbols, launched, gpu))
    return costs


def _json(
    target: str,
    gpu: str,
    symbols: Mapping[str, int],
    source: str,
    costs: Sequence[LaunchCost],
) -> dict[str, Any]:
    return {
        "stage": "cost",
        "target": target,
        "gpu": gpu,
        "sizes": dict(symbols),
        "registers": source,
        "launches": [_launch_json(cost) for cost in costs],
        "total": {
            "flops": _total_flops(costs),
            "bytes": sum(cost.bytes for cost in costs),
            "seconds": sum(cost.seconds for cost in costs),
        },
    }


def _launch_json(cost: LaunchCost) -> dict[str, Any]:
    launched, usage = cost.launched, cost.launched.usage
    return {
        "kernel": launched.kernel,
        "ops": list(cost.ops),
        "blocks": launched.blocks,
        "threads": launched.threads,
        "flops": dict(cost.flops),
        "bytes": cost.bytes,
        "intensity": cost.intensity,
        "registers": usage.registers if usage else None,
        "spills": usage.spills if usage else None,
        "shared": launched.shared,
        "resident_blocks": cost.resident,
        "occupancy": cost.occupancy,
        "waves": cost.waves,
        "seconds": cost.seconds,
        "bound": cost.bound,
    }


def _total_flops(costs: Sequence[LaunchCost]) -> dict[str, int]:
    names = sorted({name for cost in costs for name in cost.flops})
    return {name: sum(cost.flops.get(name, 0) for cost in costs) for name in names}


_HEADERS = (
    *("kernel", "ops", "grid", "flop", "bytes", "flop/B", "registers", "spills"),
    *("shared", "occupancy", "waves", "µs", "bound by"),
)


def _print(
    target: str, gpu: str, symbols: Mapping[str, int], source: str, costs: Sequence[LaunchCost]
) -> None:
    model = GPUS[gpu]
    sm = MULTIPROCESSORS[model.architecture]
    facts = [
        ("target", target),
        ("GPU", f"{gpu}: {_peaks(gpu)}"),
        ("multiprocessor", f"{sm.warps} warps, {sm.blocks} blocks, {bytes_text(sm.shared)} shared"),
        ("sizes", ", ".join(f"{n} = {v}" for n, v in symbols.items()) or "all fixed"),
        ("registers", source),
    ]
    print_table(("cost", ""), facts)
    print_table(_HEADERS, [*(_row(cost, sm) for cost in costs), _sum(costs)])
    print_text("Times are the least that arithmetic and memory allow; launches come on top.")


def _peaks(gpu: str) -> str:
    model = GPUS[gpu]
    clocks = 2 * model.multiprocessors * model.clock / 1e12
    return (
        f"{clocks * model.f32:.1f} TFLOP/s of f32, {clocks * model.f64:.1f} of f64, "
        f"{model.bandwidth / 1e9:.0f} GB/s"
    )


def _row(cost: LaunchCost, sm: Multiprocessor) -> tuple[str, ...]:
    launched, usage = cost.launched, cost.launched.usage
    most = "" if usage else "≤ "
    return (
        launched.kernel,
        _ops_text(cost.ops),
        f"{launched.blocks} × {launched.threads}",
        _count(sum(cost.flops.values())),
        bytes_text(cost.bytes),
        f"{cost.intensity:.2f}",
        str(usage.registers) if usage else "–",
        bytes_text(usage.spills) if usage else "–",
        bytes_text(launched.shared),
        f"{most}{cost.occupancy:.0%}",
        f"{cost.waves:.2f}",
        f"{cost.seconds * 1e6:.2f}",
        cost.bound,
    )


def _sum(costs: Sequence[LaunchCost]) -> tuple[str, ...]:
    flops = _count(sum(_total_flops(costs).values()))
    size = bytes_text(sum(cost.bytes for cost in costs))
    seconds = sum(cost.seconds for cost in costs)
    return ("sum", "", "", flops, size, *[""] * 6, f"{seconds * 1e6:.2f}", "")


def _ops_text(ops: Sequence[str]) -> str:
    """Each op once."""
    names = list(dict.fromkeys(ops))
    return ", ".join(names[:4]) + ("…" if len(names) > 4 else "")


def _count(number: int) -> str:
    """A number for people: 12, 3.4 k, 102.5 M."""
    for factor, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= factor:
            return f"{number / factor:.1f}{unit}"
    return str(number)
