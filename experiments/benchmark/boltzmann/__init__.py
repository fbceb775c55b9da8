"""Boltzmann machines on MNIST: likelihoods of small and large ones, and speed beside others."""
