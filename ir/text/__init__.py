"""The text form of programs: `parse(print_module(m)) == m`, and printing again changes nothing."""

from aivmc.ir.text.parser import parse
from aivmc.ir.text.printer import large_constants, print_module, print_op, value_names

__all__ = ["large_constants", "parse", "print_module", "print_op", "value_names"]
