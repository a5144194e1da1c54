"""What a program is: types, values, ops, text, and the reference semantics that define the bits."""

if __name__ != "aivmc.ir":
    raise ImportError("import this package as aivmc.ir, not ir: its classes would load twice")
