"""Lowering to CPUs: canonical IR to TIR, to audited LLVM IR, to object code."""
