"""A kernel that runs: the same inputs give the same bits on every node that can run it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any

import numpy as np

from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.errors import AivmcError
from aivmc.ir.types import TensorType
from aivmc.kernel_file.atomic import atomic_file
from aivmc.kernel_file.manifest import Target
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.kernel_file.seed_policy import SeedPolicy
from aivmc.kernel_file.signature import Signature
from aivmc.ptx.device import Device as PtxDevice
from aivmc.ptx.gpus import OLDEST, capability, dotted, required_gpu
from aivmc.runtime.cuda import CudaDevice
from aivmc.runtime.device_executor import DeviceExecutor
from aivmc.runtime.environment import missing_features
from aivmc.runtime.errors import NodeError
from aivmc.runtime.executor import Executor
from aivmc.runtime.launches import LaunchPlan
from aivmc.runtime.plan import Plan
from aivmc.runtime.requirements import check_system
from aivmc.trust.request import Proof

CPU = "cpu"
PTX_SIM, CUDA = "ptx-sim", "cuda"
DEVICES = (PTX_SIM, CUDA)  # beside the CPU; they run targets for GPUs


class Kernel:
    """A verified kernel. Made by :func:`aivmc.load` and :func:`aivmc.compile`."""

    def __init__(self, file: KernelFile, executor: Executor | DeviceExecutor | None = None):
        """Without an ``executor``, the first run opens the best target that this node can run."""
        self._file: KernelFile | None = file
        self._executor = executor

    @property
    def file(self) -> KernelFile:
        """The open file. ``AivmcError`` once the kernel is closed."""
        if self._file is None:
            raise AivmcError("the kernel is closed")
        return self._file

    @property
    def identity(self) -> str:
        """``aivm1:`` and the SHA-256 of the manifest."""
        return self.file.identity

    @property
    def signature(self) -> Signature:
        return self.file.manifest.signature

    @property
    def inputs(self) -> Mapping[str, TensorType]:
        """Types by name."""
        return MappingProxyType(dict(self.signature.inputs))

    @property
    def outputs(self) -> Mapping[str, TensorType]:
        """Types by name."""
        return MappingProxyType(dict(self.signature.outputs))

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the targets that the kernel holds code for."""
        return tuple(sorted(self.file.manifest.targets))

    @property
    def seed_policy(self) -> str:
        """``fixed``, or where each request brings something to draw from: ``input`` for a seed,
        ``vrf`` for a proof."""
        return self._seed_policy.policy

    @cached_property
    def _seed_policy(self) -> SeedPolicy:
        return SeedPolicy.from_config(self.file.manifest.config)

    @property
    def executor(self) -> Executor | DeviceExecutor:
        """What runs the code. It takes any seed: what is drawn from is checked by :meth:`run`."""
        if self._executor is None:
            self._executor = open_target(self.file)[1]
        return self._executor

    def run(
        self,
        inputs: Mapping[str, Any],
        threads: int | None = None,
        seed: bytes | None = None,
        proof: Proof | None = None,
    ) -> dict[str, Array]:
        """The outputs by name for ``inputs``, arrays of exactly the signature's dtypes and shapes.

        Any number of ``threads`` (as many as this process has cores, where it is None) gives the
        same bits. ``seed`` is 32 bytes, given if and only if the seed policy is ``input``;
        ``proof`` is given if and only if it is ``vrf``, and verified before anything is executed.
        ``InputError`` where the inputs don't fit, ``TrustError`` where the proof is not good,
        ``NodeError`` where this node can't.
        """
        drawn_from = self.request_seed(input_digests(inputs) if proof else {}, seed, proof)
        return self.executor.run(inputs, threads, drawn_from)

    def request_seed(
        self, digests: Mapping[str, str], seed: bytes | None, proof: Proof | None
    ) -> bytes | None:
        """What a run on inputs with these ``digests`` draws from; errors as :meth:`run`."""
        proven = proof.seed(self.identity, digests) if proof else None
        return self._seed_policy.check_request(seed, proven)

    def save(self, path: str | Path) -> None:
        """Write the kernel's file, whole or not at all; always the same bytes."""
        with atomic_file(path) as out:
            out.write(self.file.data)

    def close(self) -> None:
        """End the kernel's threads and let go of its file. Arrays that it gave stay good."""
        if self._executor is not None:
            self._executor.close()
        self._executor = self._file = None

    def __enter__(self) -> Kernel:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def input_digests(inputs: Mapping[str, Any]) -> dict[str, str]:
    """The canonical digests of inputs, by name."""
    return {name: tensor_digest(np.asarray(array)) for name, array in inputs.items()}


def load(path: str | Path, target: str | None = None, device: str = CPU) -> Kernel:
    """The kernel in a file, verified and ready to run: ``target``, or the best that the device can.

    ``device`` is ``cpu``; ``cuda``, an NVIDIA GPU; or ``ptx-sim``, which executes the kernel's GPU
    code on this CPU.
    ``KernelFileError`` or ``IntegrityError`` where the file isn't good, ``NodeError`` where this
    node lacks something that the kernel needs, which it names.
    """
    file = open_kernel(path)
    return Kernel(file, open_target(file, target, device)[1])


def pick_target(targets: Mapping[str, Target], wanted: str | None = None) -> str:
    """``wanted``, or of the targets that this CPU can run the one that asks most of it.

    ``NodeError`` names the features that are missing, or the targets that there are.
    """
    asked = _asked(targets, wanted)
    asked = {name: t for name, t in asked.items() if required_gpu(t.requires) is None}
    if not asked:
        raise NodeError(f"no CPU runs this code; there are the devices {', '.join(DEVICES)} for it")
    missing = {name: missing_features(t.requires) for name, t in asked.items()}
    good = [name for name, features in missing.items() if not features]
    if not good:
        reasons = "; ".join(f"{n} needs {', '.join(f)}" for n, f in sorted(missing.items()))
        raise NodeError(f"this node lacks CPU features that the kernel needs: {reasons}")
    return max(good, key=lambda name: (len(targets[name].requires), name))


def pick_gpu_target(
    targets: Mapping[str, Target],
    wanted: str | None = None,
    has: tuple[int, int] | None = None,
) -> str:
    """``wanted``, or the target for the newest GPU that one of compute capability ``has`` can stand
    for; None stands for any.

    ``NodeError`` names the capability that is missing, or the targets that there are.
    """
    found = {name: required_gpu(t.requires) for name, t in _asked(targets, wanted).items()}
    least = {name: capability(gpu) for name, gpu in found.items() if gpu is not None}
    if not least:
        raise NodeError(f"no GPU runs this code, which is for {', '.join(sorted(found))}")
    good = [name for name in least if has is None or least[name] <= has]
    if not good and has is not None:
        needs = "; ".join(f"{name} needs {dotted(least[name])}" for name in sorted(least))
        raise NodeError(f"the GPU has compute capability {dotted(has)}, and {needs}")
    return max(good, key=lambda name: (least[name], name))


def pick_local(targets: Mapping[str, Target]) -> tuple[str, str]:
    """A target that this node runs, and the device for it: the CPU where there is code for it, or
    else ``ptx-sim``. ``NodeError`` as :func:`pick_target`."""
    try:
        return pick_target(targets), CPU
    except NodeError:
        if not any(required_gpu(t.requires) for t in targets.values()):
            raise
    return pick_gpu_target(targets), PTX_SIM


def _asked(targets: Mapping[str, Target], wanted: str | None) -> Mapping[str, Target]:
    if wanted is None:
        return targets
    if wanted not in targets:
        raise NodeError(f"the kernel has no target {wanted!r}; it has {', '.join(sorted(targets))}")
    return {wanted: targets[wanted]}


def open_target(
    file: KernelFile, wanted: str | None = None, device: str = CPU
) -> tuple[str, Executor | DeviceExecutor]:
    """The target that the device runs, ``wanted`` or the best that it can, and its executor.

    ``NodeError`` where there is no such device, or it can't.
    """
    targets, signature = file.manifest.targets, file.manifest.signature
    if device == CPU:
        name = pick_target(targets, wanted)
        check_system(file, name)
        plan = Plan.from_json(file.json(f"targets/{name}/plan.json"))
        return name, Executor(signature, plan, _code(file, name), file.arrays())
    if device not in DEVICES:
        raise NodeError(f"there is no device {device!r}: choose {CPU} or {', '.join(DEVICES)}")
    pick_gpu_target(targets, wanted)  # before a device is asked for
    opened = CudaDevice() if device == CUDA else PtxDevice()
    has = opened.capability if isinstance(opened, CudaDevice) else None
    name = pick_gpu_target(targets, wanted, has)
    launches = LaunchPlan.from_json(file.json(f"targets/{name}/plan.json"))
    gpu = required_gpu(targets[name].requires) or OLDEST
    return name, DeviceExecutor(signature, launches, _code(file, name), file.arrays(), opened, gpu)


def _code(file: KernelFile, target: str) -> bytes:
    return bytes(file.members[f"targets/{target}/{file.manifest.targets[target].code}"])
