"""Pipelines as text: what can be written, and what is said of what can't."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar

import pytest

from aivmc.ir.errors import AivmcError
from aivmc.passes.base import Pass
from aivmc.passes.canonicalize import Canonicalize
from aivmc.passes.fold_constants import FoldConstants
from aivmc.passes.pipelines import ALL_PASSES, CANONICAL, parse_pipeline
from aivmc.passes.recognize_idioms import RecognizeIdioms


@dataclass(frozen=True)
class Options(Pass):
    name: ClassVar[str] = "options"
    flag: bool = False
    count: int = 1
    ratio: float = 0.5
    word: str = "a"


def test_reading() -> None:
    assert parse_pipeline("canonicalize") == (Canonicalize(),)
    assert parse_pipeline(" fold-constants{limit=7} , canonicalize{}") == (
        FoldConstants(limit=7),
        Canonicalize(),
    )
    assert parse_pipeline("recognize-idioms{gelu=false silu=false}") == (
        RecognizeIdioms(gelu=False, silu=False),
    )
    assert parse_pipeline("canonical") == CANONICAL
    read = parse_pipeline("options{flag=true,count=-3 ratio=1e-3 word=b-c}", [Options])
    assert read == (Options(True, -3, 1e-3, "b-c"),)


@pytest.mark.parametrize("passes", [CANONICAL, (FoldConstants(3), RecognizeIdioms(mish=False))])
def test_writing(passes: tuple[Pass, ...]) -> None:
    assert parse_pipeline(",".join(map(str, passes))) == passes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("canonicalise", "there is no pass 'canonicalise'; did you mean 'canonicalize'?"),
        ("zzz", "there is no pass 'zzz'; there are strip-nondeterminism, legalize, "),
        ("", "can't read the pipeline at ''"),
        ("canonicalize,,canonicalize", "can't read the pipeline at ',canonicalize'"),
        ("canonicalize,", "can't read the pipeline at ''"),
        ("fold-constants{limit=1", "can't read the pipeline at '{limit=1'"),
        ("canonicalize;rm", "can't read the pipeline at ';rm'"),
        ("fold-constants{limit}", "can't read the option 'limit' of fold-constants"),
        ("fold-constants{limits=1}", "no option 'limits'; did you mean 'limit'?"),
        ("fold-constants{zzz=1}", "no option 'zzz'; there are limit"),
        ("canonicalize{name=x}", "canonicalize has no option 'name'; it has none"),
        ("fold-constants{limit=x}", "option 'limit' must be int, not 'x'"),
        ("recognize-idioms{gelu=1}", "option 'gelu' must be true or false, not '1'"),
        ("canonical{limit=1}", "the pipeline 'canonical' takes no options"),
    ],
)
def test_faults(text: str, message: str) -> None:
    with pytest.raises(AivmcError, match=re.escape(message)):
        parse_pipeline(text)


def test_every_pass_is_documented_named_and_has_defaults() -> None:
    for pass_type in ALL_PASSES:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", pass_type.name)
        assert pass_type.__doc__ and not pass_type.__doc__.startswith(f"{pass_type.__name__}(")
        assert parse_pipeline(str(pass_type())) == (pass_type(),)
    names = [p.name for p in ALL_PASSES]
    assert len(set(names)) == len(names)
