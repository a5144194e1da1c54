"""The canonical program to targets' artifacts. Nothing here decides a bit of a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from aivmc.backends.artifact import Artifact, Generated, Packing
from aivmc.backends.generate import generate
from aivmc.backends.process import generate_apart
from aivmc.ir.constants import Array, Constant, tensor_digest
from aivmc.ir.core import Module
from aivmc.passes.manager import Observer, run_pipeline
from aivmc.passes.pipelines import KERNEL

# From so many bytes of weights on, a process of its own generates the code, for its memory would
# come on top of them. For less, its start would take longer than it helps.
_HEAVY = 1 << 26


def build_artifact(canonical: Module, target: str, observer: Observer | None = None) -> Artifact:
    """Compile a canonical program for one target. ``UnsupportedError`` names what can't be."""
    return build_artifacts(canonical, [target], observer)[0]


def build_artifacts(
    canonical: Module, targets: Sequence[str], observer: Observer | None = None
) -> list[Artifact]:
    """Compile a canonical program for each target; they share the arrays that they both pack."""
    observer = observer or Observer()
    module = kernel_module(canonical, observer)
    constants = _constants(module)
    heavy = sum(c.data.nbytes for c in constants.values()) >= _HEAVY
    packed: dict[Packing, tuple[str, Array]] = {}
    return [
        _packed(_generate(module, target, observer, heavy), constants, packed) for target in targets
    ]


def kernel_module(canonical: Module, observer: Observer | None = None) -> Module:
    """The kernel-stage program: ops laid out and fused."""
    return run_pipeline(canonical, KERNEL, observer)[0]


def _generate(module: Module, target: str, observer: Observer, heavy: bool) -> Generated:
    if heavy:
        return generate_apart(module, target, observer.progress)
    # TVM, loaded here, takes its memory only after the passes.
    return generate(module, target, observer.progress)


def _packed(
    generated: Generated,
    constants: Mapping[str, Constant],
    packed: dict[Packing, tuple[str, Array]],
) -> Artifact:
    """The artifact with its constants, its weights packed; those that ``packed`` lacks are added
    to it."""
    for packing in generated.packings:
        if packing not in packed:
            array = packing.apply(constants[packing.source].data)
            packed[packing] = tensor_digest(array), array
    digests = [packed[packing][0] for packing in generated.packings]
    artifact = generated.artifact
    buffers = [
        ["constant", digests[which]] if kind == "packed" else [kind, which]
        for kind, which in artifact.plan["buffers"]
    ]
    return replace(
        artifact,
        plan={**artifact.plan, "buffers": buffers},
        constants={
            which: constants[which].data
            for kind, which in artifact.plan["buffers"]
            if kind == "constant"
        },
        packed={packed[p][0]: (p, packed[p][1]) for p in generated.packings},
    )


def _constants(module: Module) -> dict[str, Constant]:
    """By digest."""
    values = (value for op in module.walk() for value in op.attributes.values())
    return {value.digest: value for value in values if isinstance(value, Constant)}
