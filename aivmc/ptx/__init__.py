"""PTX without a GPU: a strict parser, the gate that emitted code must pass, and an executor.

Imports no compiler: the backend checks with it what it has emitted, and a node without a GPU
executes a kernel's PTX with it.
"""
