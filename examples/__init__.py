"""Models, a demo and a benchmark around aivmc; run from the checkout."""
