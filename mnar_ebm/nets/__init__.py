"""Architecture in flax.linen: arrays in, parameters of distributions or energies out."""
