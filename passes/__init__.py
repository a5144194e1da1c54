"""Programs to programs: the pass manager, every pass, and the named pipelines."""

if __name__ != "aivmc.passes":
    raise ImportError(
        "import this package as aivmc.passes, not passes: its classes would load twice"
    )
