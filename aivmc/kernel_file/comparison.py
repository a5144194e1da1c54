"""What tells two kernels apart: the parts of their identities, and the lines within each part."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher

from aivmc.kernel_file.identity import flatten, identity_parts
from aivmc.kernel_file.manifest import CANONICAL, SELFTEST
from aivmc.kernel_file.reader import KernelFile
from aivmc.kernel_file.signature import Json

_CONTEXT = 2
_NUMBERED = re.compile(r"%\d+")


@dataclass(frozen=True)
class Difference:
    """A part of the identity, its digest in each kernel where it is there, and lines of a diff."""

    part: str
    a: str | None
    b: str | None
    lines: tuple[str, ...]


def differences(a: KernelFile, b: KernelFile) -> list[Difference]:
    """The parts that differ, in the order of :func:`identity_parts`; empty for equal kernels."""
    left, right = (dict(flatten(identity_parts(k.manifest))) for k in (a, b))
    return [
        Difference(part, left.get(part), right.get(part), tuple(_part_diff(a, b, part)))
        for part in left | right
        if left.get(part) != right.get(part)
    ]


def _part_diff(a: KernelFile, b: KernelFile, part: str) -> Iterator[str]:
    left, right = _lines(a, part), _lines(b, part)
    if left is not None and right is not None:
        yield from diff_lines(left, right)


def _lines(kernel: KernelFile, part: str) -> list[str] | None:
    """A part as text, where it is text and there."""
    manifest = kernel.manifest
    match part.split("/"):
        case ["program"]:
            return kernel.text(CANONICAL).splitlines()
        case ["signature"]:
            return _json_lines(manifest.signature.to_json())
        case ["config"]:
            return _json_lines(manifest.config)
        case ["ledger"]:
            return _json_lines(manifest.ledger)
        case ["selftest"]:
            return _json_lines(kernel.json(SELFTEST))
        case ["targets", name, kind] if name in manifest.targets:
            return _target_lines(kernel, name, kind)
    return None


def _target_lines(kernel: KernelFile, name: str, kind: str) -> list[str] | None:
    match kind:
        case "requires":
            return list(kernel.manifest.targets[name].requires)
        case "plan" | "audit":
            return _json_lines(kernel.json(f"targets/{name}/{kind}.json"))
        case "kernel":
            return kernel.text(f"targets/{name}/kernel.air").splitlines()
    return None


def _json_lines(data: Json) -> list[str]:
    return json.dumps(data, indent=1, sort_keys=True).splitlines()


def diff_lines(a: Sequence[str], b: Sequence[str]) -> Iterator[str]:
    """The lines that differ, with some context.

    Values are numbered in order, so one more op renumbers all that follow: lines that differ only
    in numbers are shown only if there is no other difference.
    """
    plain = [[_NUMBERED.sub("%", line) for line in lines] for lines in (a, b)]
    keys = plain if plain[0] != plain[1] else [list(a), list(b)]
    matcher = SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        yield f"@@ lines {group[0][1] + 1} and {group[0][3] + 1} @@"
        for kind, i, j, k, m in group:
            if kind == "equal":
                yield from (f"  {line}" for line in a[i:j])
            else:
                yield from (f"- {line}" for line in a[i:j])
                yield from (f"+ {line}" for line in b[k:m])
