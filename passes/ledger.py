"""The ledger: which passes made a program, with their options, and what it meant in between."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from typing import Any

from aivmc.passes.base import Option, Pass


@dataclass(frozen=True)
class Plugin:
    """Where a pass that isn't ours comes from."""

    module: str
    version: str


@dataclass(frozen=True)
class Entry:
    """One pass that ran. The digests are semantic: a pass that keeps the meaning keeps them."""

    name: str
    version: int
    options: dict[str, Option]
    plugin: Plugin | None
    before: str
    after: str

    @property
    def step(self) -> dict[str, Any]:
        """What was done, whatever the program: name, version, options and origin."""
        out: dict[str, Any] = {
            "pass": self.name,
            "version": self.version,
            "options": dict(sorted(self.options.items())),
        }
        if self.plugin is not None:
            out["plugin"] = {"module": self.plugin.module, "version": self.plugin.version}
        return out


@dataclass(frozen=True)
class Ledger:
    """The passes that ran, in order."""

    entries: tuple[Entry, ...] = field(default=())

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(self.entries + other.entries)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """JSON without the digests: the same for every program that went through the passes."""
        return [entry.step for entry in self.entries]

    def to_json(self) -> list[dict[str, Any]]:
        """JSON of all that is known."""
        return [{**e.step, "before": e.before, "after": e.after} for e in self.entries]


def enter(pass_: Pass, before: str, after: str) -> Entry:
    """The entry for a pass that has run between programs with these digests."""
    return Entry(pass_.name, pass_.version, pass_.options, origin(type(pass_)), before, after)


def origin(pass_type: type[Pass]) -> Plugin | None:
    """The plug-in module that defines the pass; None for our own passes."""
    module = pass_type.__module__
    if module.split(".")[0] == "aivmc":
        return None
    return Plugin(module, str(getattr(sys.modules.get(module), "__version__", "unknown")))
