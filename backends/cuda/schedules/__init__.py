"""How kernels are shared among a GPU's threads."""
