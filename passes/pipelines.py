"""All passes, the named pipelines, and how a pipeline is written as text."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import get_type_hints

from aivmc.ir.errors import AivmcError
from aivmc.passes.assign_layouts import AssignLayouts
from aivmc.passes.assign_streams import AssignStreams
from aivmc.passes.base import Option, Pass
from aivmc.passes.canonical_nan import CanonicalNan
from aivmc.passes.canonicalize import Canonicalize
from aivmc.passes.fix_reduction_order import FixReductionOrder
from aivmc.passes.fold_batch_norm import FoldBatchNorm
from aivmc.passes.fold_constants import FoldConstants
from aivmc.passes.fuse import Fuse
from aivmc.passes.infer_types import InferTypes
from aivmc.passes.inline_branches import InlineBranches
from aivmc.passes.legalize import Legalize
from aivmc.passes.recognize_idioms import RecognizeIdioms
from aivmc.passes.separate_zero_points import SeparateZeroPoints
from aivmc.passes.strip_nondeterminism import StripNondeterminism

ALL_PASSES: tuple[type[Pass], ...] = (
    StripNondeterminism,
    Legalize,
    InferTypes,
    FoldConstants,
    AssignStreams,
    FoldBatchNorm,
    RecognizeIdioms,
    FixReductionOrder,
    CanonicalNan,
    Canonicalize,
    InlineBranches,
    AssignLayouts,
    SeparateZeroPoints,
    Fuse,
)

# From an imported program to the canonical one, which decides every bit. Streams are numbered, and
# patterns looked for, in a canonical program; constants are folded once more when the orders are
# fixed, for no unordered reduction is ever folded.
CANONICAL: tuple[Pass, ...] = (
    StripNondeterminism(),
    Legalize(),
    InferTypes(),
    FoldConstants(),
    Canonicalize(),
    AssignStreams(),
    FoldBatchNorm(),
    RecognizeIdioms(),
    FixReductionOrder(),
    CanonicalNan(),
    FoldConstants(),
    Canonicalize(),
)

# From the canonical program to kernels. No pass of these decides a bit.
KERNEL: tuple[Pass, ...] = (InlineBranches(), AssignLayouts(), SeparateZeroPoints(), Fuse())

PIPELINES: dict[str, tuple[Pass, ...]] = {"canonical": CANONICAL, "kernel": KERNEL}

_STEP = re.compile(r"\s*(?P<name>[A-Za-z][\w-]*)\s*(?:\{(?P<options>[^{}]*)\})?\s*")
_OPTION = re.compile(r"([A-Za-z_]\w*)=([^\s={},]+)")
_BOOLS = {"true": True, "false": False}


def parse_pipeline(text: str, plugins: Sequence[type[Pass]] = ()) -> tuple[Pass, ...]:
    """The passes written as ``pass-a,pass-b{option=value other=value},canonical``.

    A name is that of a pass or of a pipeline; passes of ``plugins`` have names here too.
    ``AivmcError`` says what can't be read.
    """
    known = known_passes(plugins)
    passes: list[Pass] = []
    position = 0
    while True:
        match = _STEP.match(text, position)
        if match is None or text[match.end() : match.end() + 1] not in ("", ","):
            end = position if match is None else match.end()
            raise AivmcError(
                f"can't read the pipeline at {text[end:]!r}: pass,pass{{option=value}}"
            )
        passes += _passes(match["name"], match["options"], known)
        if match.end() == len(text):
            return tuple(passes)
        position = match.end() + 1


def known_passes(plugins: Sequence[type[Pass]] = ()) -> dict[str, type[Pass]]:
    """Passes by name. ``AivmcError`` if two have one name."""
    known: dict[str, type[Pass]] = {}
    for pass_type in (*ALL_PASSES, *plugins):
        if known.setdefault(pass_type.name, pass_type) is not pass_type:
            raise AivmcError(f"two passes are named {pass_type.name!r}: rename the plug-in's")
    return known


def _passes(name: str, options: str | None, known: Mapping[str, type[Pass]]) -> tuple[Pass, ...]:
    if name in PIPELINES:
        if options:
            raise AivmcError(f"the pipeline {name!r} takes no options")
        return PIPELINES[name]
    if name not in known:
        names = [*known, *PIPELINES]
        raise AivmcError(f"there is no pass {name!r}{_suggestion(name, names)}")
    return (known[name](**_options(options or "", known[name])),)


def _options(text: str, pass_type: type[Pass]) -> dict[str, Option]:
    hints = get_type_hints(pass_type)
    types = {field.name: hints[field.name] for field in fields(pass_type)}
    values: dict[str, Option] = {}
    for item in text.replace(",", " ").split():
        match = _OPTION.fullmatch(item)
        if match is None:
            raise AivmcError(f"can't read the option {item!r} of {pass_type.name}: option=value")
        name, value = match.groups()
        if name not in types:
            raise AivmcError(f"{pass_type.name} has no option {name!r}{_suggestion(name, types)}")
        values[name] = _value(value, types[name], f"{pass_type.name}: option {name!r}")
    return values


def _value(text: str, type_: type, what: str) -> Option:
    try:
        return _BOOLS[text] if type_ is bool else type_(text)
    except (KeyError, ValueError):
        kind = "true or false" if type_ is bool else type_.__name__
        raise AivmcError(f"{what} must be {kind}, not {text!r}") from None


def _suggestion(name: str, names: Iterable[str]) -> str:
    names = list(names)
    close = difflib.get_close_matches(name, names, 1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; there are {', '.join(names)}" if names else "; it has none"
