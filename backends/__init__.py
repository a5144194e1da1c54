"""Canonical IR to artifacts: lowering, schedules, code emission and its audit."""

if __name__ != "aivmc.backends":
    raise ImportError(
        "import this package as aivmc.backends, not backends: its classes would load twice"
    )
