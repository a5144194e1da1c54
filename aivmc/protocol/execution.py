"""Executing a kernel by the steps of docs/protocol.md, each of which refuses what isn't right."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aivmc.ir.binding import InputError
from aivmc.ir.constants import Array, tensor_digest
from aivmc.ir.types import DType, TensorType
from aivmc.kernel_file.manifest import SELFTEST
from aivmc.kernel_file.reader import KernelFile, open_kernel
from aivmc.protocol.trace import Trace, Tracer, program_digest
from aivmc.runtime import selftest
from aivmc.runtime.errors import NodeError
from aivmc.runtime.executor import Observer
from aivmc.runtime.kernel import CPU, Kernel, open_target
from aivmc.trust.nonces import use_nonce
from aivmc.trust.request import Proof, Request


@dataclass(frozen=True)
class Tensor:
    """What a receipt says of an input or output: its type and its canonical digest."""

    type: str
    sha256: str

    @staticmethod
    def of(array: Array) -> Tensor:
        type = TensorType(DType.of(array.dtype), array.shape)
        return Tensor(str(type), tensor_digest(array))


@dataclass(frozen=True)
class Execution:
    """One run: what ran on what, drawing from what, and what came out.

    ``seed`` is what the request gave where the policy is ``input``; ``time`` is in seconds since
    1970, when the run ended.
    """

    kernel: str
    target: str
    seed_policy: str
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]
    arrays: Mapping[str, Array]
    seed: bytes | None
    request: Request | None
    proof: Proof | None
    time: int
    trace: Trace | None = None


class Session:
    """A kernel that was verified, on a node that was checked: steps 1 to 3 are done."""

    def __init__(self, file: KernelFile, target: str | None = None, device: str = CPU) -> None:
        """``target`` is what the ``device`` is to run: where it is None, the best that it can.

        ``NodeError`` where this node lacks something, or gives other bits in the self-test.
        """
        self.target, self._executor = open_target(file, target, device)
        self.kernel = Kernel(file, self._executor)
        self._check_bits()

    def execute(
        self,
        inputs: Mapping[str, Any],
        threads: int | None = None,
        seed: bytes | None = None,
        request: Request | None = None,
        proof: Proof | None = None,
        nonces: str | Path | None = None,
        traced: bool = False,
    ) -> Execution:
        """Steps 4 to 7: bind the inputs, draw the seed, execute, digest.

        ``request`` is what the run answers; a ``proof`` brings its own, and a request its ``seed``.
        With ``nonces``, a file, it is answered once. ``TrustError`` and ``InputError`` say what is
        not right, before anything is executed. ``traced`` runs take longer, and have a trace.
        """
        request = proof.request if proof else request
        seed = request.seed if request and seed is None else seed
        arrays, bound = bind(inputs)
        digests = {name: tensor.sha256 for name, tensor in bound.items()}
        drawn_from = self.kernel.request_seed(digests, seed, proof)
        if request:
            request.check(self.kernel.identity, digests, seed)
            request.check_time(_now())
        if request and nonces is not None:
            use_nonce(nonces, request, _now())
        tracer = Tracer() if traced else None
        outputs = self._executor.run(arrays, threads, drawn_from, tracer)
        return Execution(
            kernel=self.kernel.identity,
            target=self.target,
            seed_policy=self.kernel.seed_policy,
            inputs=bound,
            outputs={name: Tensor.of(array) for name, array in outputs.items()},
            arrays=outputs,
            seed=seed,
            request=request,
            proof=proof,
            time=_now(),
            trace=self._trace(tracer) if tracer else None,
        )

    def again(
        self,
        inputs: Mapping[str, Any],
        seed: bytes | None,
        proof: Proof | None,
        observer: Observer | None = None,
    ) -> dict[str, Tensor]:
        """The outputs that an execution in the past must have given."""
        arrays, bound = bind(inputs)
        digests = {name: tensor.sha256 for name, tensor in bound.items()}
        drawn_from = self.kernel.request_seed(digests, seed, proof)
        outputs = self._executor.run(arrays, None, drawn_from, observer)
        return {name: Tensor.of(array) for name, array in outputs.items()}

    def _trace(self, tracer: Tracer) -> Trace:
        program = program_digest(self.kernel.file, self.target)
        return Trace(self.kernel.identity, self.target, program, tracer.digests)

    def close(self) -> None:
        """As :meth:`aivmc.Kernel.close`."""
        self.kernel.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_bits(self) -> None:
        file = self.kernel.file
        wrong = selftest.check(
            file.manifest.signature,
            file.json(SELFTEST),
            lambda inputs: self._executor.run(inputs, seed=selftest.SEED),
        )
        if wrong:
            raise NodeError(
                f"this node gives other bits than the kernel's self-test records in "
                f"{', '.join(wrong)}: don't trust what it computes"
            )


def open_session(path: str | Path, target: str | None = None, device: str = CPU) -> Session:
    """The kernel in a file, ready to execute; errors as :func:`aivmc.load` and :class:`Session`."""
    return Session(open_kernel(path), target, device)


def bind(inputs: Mapping[str, Any]) -> tuple[dict[str, Array], dict[str, Tensor]]:
    """The inputs as arrays, and as a receipt names them. ``InputError`` where one has bytes that
    are no value of its type."""
    arrays = {name: np.asarray(array) for name, array in inputs.items()}
    _check_bools(arrays)
    return arrays, {name: Tensor.of(array) for name, array in arrays.items()}


def _check_bools(arrays: Mapping[str, Array]) -> None:
    """A bool is a byte of 0 or 1, or one value would have many digests."""
    for name, array in arrays.items():
        if array.dtype == np.bool_ and array.size and array.view(np.uint8).max() > 1:
            raise InputError(f"input {name!r} has a bool whose byte is neither 0 nor 1")


def _now() -> int:
    return int(time.time())
