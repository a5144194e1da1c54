"""Keys, proofs of randomness, signed envelopes. Knows kernels by identity, and runs none."""
