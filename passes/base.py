"""What a pass is: a frozen dataclass whose fields are its options; ``run`` makes a program.

A pass never changes the program that it is given: values and ops are shared or made anew.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, TypeAlias

from aivmc.ir.core import Module

Option: TypeAlias = bool | int | float | str


@dataclass(frozen=True)
class Pass:
    """A program to a program. Subclass as a frozen dataclass and set ``name``.

    Fields are the options, of type bool, int, float or str and with defaults. Raise ``version``
    with every change that lets the pass make another program out of the same one.
    """

    name: ClassVar[str]
    version: ClassVar[int] = 1

    def run(self, module: Module) -> Module:
        """The new program. ``AivmcError`` where the pass cannot do its work."""
        raise TypeError(f"{self.name} does not say what it does")

    def requires(self, module: Module) -> None:
        """``IRError`` unless the pass may run on this program."""

    def ensures(self, module: Module) -> None:
        """``IRError`` unless this program has what the pass promises."""

    @property
    def options(self) -> dict[str, Option]:
        """Option values by name."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    def __str__(self) -> str:
        """The text that :func:`aivmc.passes.pipelines.parse_pipeline` reads; defaults left out."""
        set_options = [
            f"{f.name}={_option_text(value)}"
            for f in fields(self)
            if (value := getattr(self, f.name)) != f.default
        ]
        return self.name + (f"{{{' '.join(set_options)}}}" if set_options else "")


def _option_text(value: Option) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
