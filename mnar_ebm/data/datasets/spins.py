"""Spins on a torus: an Ising model whose couplings are known."""

import numpy as np

from mnar_ebm.data.table import Table, benchmark_table

NUM_ROWS = 1000
SIDE = 12
COUPLING = 0.35
NUM_SWEEPS = 200


def ising(rng: np.random.Generator, num_rows: int = NUM_ROWS) -> np.ndarray:
    """Return spins 0 and 1 of a torus, p(s) ∝ exp(J Σ s_i s_j) with s = ±1. [N, SIDE²].

    Each row is the end of a chain of its own, of 200 sweeps of Gibbs from random spins: above the
    critical temperature (J < .4407) they forget those in a few tens.
    """
    spins = rng.choice([-1, 1], (num_rows, SIDE, SIDE)).astype(np.int8)
    rows, columns = np.indices((SIDE, SIDE))
    colours = [(rows + columns) % 2 == parity for parity in (0, 1)]
    for _ in range(NUM_SWEEPS):
        for colour in colours:
            rolled = [np.roll(spins, shift, axis) for shift in (1, -1) for axis in (1, 2)]
            field = np.sum(rolled, axis=0)
            up = 1 / (1 + np.exp(-2 * COUPLING * field[:, colour]))
            spins[:, colour] = np.where(rng.random(up.shape) < up, 1, -1)
    return (spins.reshape(num_rows, -1) + 1) / 2


def load(seed: int) -> Table:
    """Return 1000 rows of ``ising``, masked by the benchmark protocol."""
    names = [f"s{row}_{column}" for row in range(SIDE) for column in range(SIDE)]
    return benchmark_table("ising", names, ising(np.random.default_rng(seed)))
