"""Lowering to NVIDIA GPUs: canonical IR to TIR, to audited LLVM IR, to PTX that passes the gate."""
