"""The parts of a kernel's identity, by name, so that two kernels can be told apart part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from typing import TypeAlias

import rfc8785

from aivmc.kernel_file.manifest import CANONICAL, SELFTEST, Manifest
from aivmc.kernel_file.signature import Json

Parts: TypeAlias = Mapping[str, "str | Parts"]


def identity_parts(manifest: Manifest) -> Parts:
    """SHA-256 digests of what the manifest covers, in a tree of names.

    Kernels with equal ``semantic`` give equal bits for equal inputs; all else only names how.
    """
    members = {name: digest.sha256 for name, digest in manifest.members.items()}
    return {
        "semantic": manifest.semantic,
        "program": members[CANONICAL],
        "weights": _joined(c.digest for c in manifest.constants),
        "signature": _digest(manifest.signature.to_json()),
        "config": _digest(manifest.config),
        "ledger": _digest(manifest.ledger),
        "selftest": members[SELFTEST],
        "packed": _joined(p.digest for p in manifest.packed),
        "targets": {
            name: {
                "requires": _digest(list(target.requires)),
                "code": members[f"targets/{name}/{target.code}"],
                "plan": members[f"targets/{name}/plan.json"],
                "kernel": members[f"targets/{name}/kernel.air"],
                "audit": members[f"targets/{name}/audit.json"],
            }
            for name, target in sorted(manifest.targets.items())
        },
    }


def flatten(parts: Parts, prefix: str = "") -> Iterator[tuple[str, str]]:
    """(``targets/x86-64-v3/code``, digest) for each leaf."""
    for name, part in parts.items():
        if isinstance(part, str):
            yield prefix + name, part
        else:
            yield from flatten(part, f"{prefix}{name}/")


def _digest(data: Json) -> str:
    return sha256(rfc8785.dumps(data)).hexdigest()


def _joined(digests: Iterable[str]) -> str:
    return sha256("".join(sorted(digests)).encode()).hexdigest()
