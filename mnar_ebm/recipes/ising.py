"""An Ising model of a table whose columns are the nodes of a lattice, row by row of it."""

import dataclasses
import functools
import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import markov
from mnar_ebm._settings import setting
from mnar_ebm.data.table import Table
from mnar_ebm.markov.training import PHASES
from mnar_ebm.recipes import run, units
from mnar_ebm.recipes.run import How
from mnar_ebm.recipes.units import Facts, UnitsConfig
from mnar_ebm.types import Array

SYSTEM = "ising"

SHARING = ("all", "none")

NUM_SWEEPS = 1000
"""Sweeps of a chain before it is read."""

THIN = 10
"""Sweeps from one draw of a chain to the next."""

NUM_MEAN_DRAWS = 100
"""Least number of draws whose mean says how likely a missing node is up."""


@dataclasses.dataclass(frozen=True)
class Config(UnitsConfig):
    """Settings of a lattice and of its training."""

    negative_phase: str = setting(
        "pcd",
        "What stands for the model: chains that go on (pcd), sums where the lattice is narrow "
        "enough (exact), or each node given the others (pseudo).",
        choices=PHASES,
    )
    num_chains: int = setting(100, "Chains that pcd carries along.", at_least=1)
    num_sweeps: int = setting(1, "Sweeps of Gibbs in a step.", at_least=1)
    num_columns: int = setting(0, "Columns of the lattice; 0: it is a square.", at_least=0)
    wraps: bool = setting(True, "The lattice is a torus.")
    shared: str = setting(
        "all",
        "All edges share one coupling and all nodes one field, or none shares.",
        choices=SHARING,
    )


class Params(NamedTuple):
    """Parameters of a lattice: E(s) = -Σ_ij J_ij s_i s_j - Σ_i h_i s_i, spins s = ±1.

    Attributes:
        couplings: J, of each edge or of all. [E] or []
        fields: h, of each node or of all. [N] or []
    """

    couplings: Array
    fields: Array


class FittedLattice(NamedTuple):
    """A trained lattice, and what it knows of its table."""

    config: Config
    facts: Facts
    params: Params

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the lattice."""
        return shape_of(self.config, len(self.facts.columns))

    @property
    def edges(self) -> list[tuple[int, int]]:
        """Pairs of neighbours, by the numbers of their columns."""
        return markov.lattice_edges(*self.shape, wraps=self.config.wraps)

    @property
    def graph(self) -> markov.FactorGraph:
        """The factor graph."""
        return _graph(self.config, self.shape, self.params)

    def bits(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return rows as bits, 0 in their gaps, and where they are observed. [N, V]."""
        return units.to_bits(x, self.facts.cut, self.facts.columns)

    def sample(self, num_samples: int, seed: int = 0, num_sweeps: int = NUM_SWEEPS) -> np.ndarray:
        """Return ends of chains from independent bits, one for each row. [N, V]."""
        key_start, key_chains = jax.random.split(jax.random.key(seed))
        start = markov.start(key_start, self.graph, num_samples)
        return np.asarray(markov.draw(key_chains, self.graph, start, num_sweeps))

    def chains(self, num_chains: int, num_draws: int, seed: int = 0) -> np.ndarray:
        """Return draws of chains, after ``NUM_SWEEPS``, ten sweeps apart. [C, T, V]."""
        key_start, key = jax.random.split(jax.random.key(seed))
        graph = self.graph
        x = markov.draw(key, graph, markov.start(key_start, graph, num_chains), NUM_SWEEPS)
        seen = []
        for number in range(num_draws):
            x = markov.draw(jax.random.fold_in(key, number), graph, x, THIN)
            seen.append(np.asarray(x))
        return np.stack(seen, axis=1)

    def impute(
        self, x: np.ndarray, num_imputations: int, seed: int = 0, num_sweeps: int = NUM_SWEEPS
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return rows whose missing nodes are filled given the others, which stay.

        Args:
            x: rows, NaN where missing. [N, V]
            num_imputations: M.
            seed: of the draws.
            num_sweeps: of the chain of each draw.

        Returns:
            How likely each node is up, the mean of 100 draws at least, [N, V], and M draws of the
            rows, [M, N, V]; observed nodes as bits.
        """
        bits, mask = self.bits(x)
        num_draws = max(num_imputations, NUM_MEAN_DRAWS)
        key_start, key_chains = jax.random.split(jax.random.key(seed))
        start = markov.start(key_start, self.graph, num_draws * len(bits))
        start = jnp.where(mask, bits.astype(int), start.reshape(num_draws, *bits.shape))
        masks = jnp.broadcast_to(mask, start.shape)
        draws = markov.draw(key_chains, self.graph, start, num_sweeps, mask=masks)
        return np.asarray(draws.mean(axis=0)), np.asarray(draws[:num_imputations])

    def log_likelihood(self, bits: np.ndarray) -> float | None:
        """Return the mean log p of rows, exactly; ``None`` where the lattice is too wide."""
        try:
            log_z = markov.log_z(self.graph)
        except ValueError:
            return None
        return -float(markov.energy(self.graph, jnp.asarray(bits, int)).mean() + log_z)

    def pseudo_log_likelihood(self, bits: np.ndarray) -> float:
        """Return the mean Σ_i log p(x_i|x_others) of rows."""
        return float(markov.pseudo_log_likelihood(self.graph, jnp.asarray(bits, int)).mean())


def shape_of(config: Config, num_nodes: int) -> tuple[int, int]:
    """Return rows and columns of the lattice of so many nodes.

    Raises:
        ValueError: so many nodes are no such lattice.
    """
    num_columns = config.num_columns or round(num_nodes**0.5)
    if num_nodes % num_columns or not (config.num_columns or num_columns**2 == num_nodes):
        wanted = f"rows of {num_columns} nodes" if config.num_columns else "a square"
        raise ValueError(
            f"num_columns: expected a lattice of {wanted}, got {num_nodes} columns in the table"
        )
    return num_nodes // num_columns, num_columns


def _graph(config: Config, shape: tuple[int, int], params: Params) -> markov.FactorGraph:
    edges = markov.lattice_edges(*shape, wraps=config.wraps)
    return markov.ising(shape[0] * shape[1], edges, *params)


def _start(config: Config, facts: Facts) -> Params:
    """Return the parameters of independent nodes, up as often as in the data."""
    num_nodes = len(facts.columns)
    num_edges = len(markov.lattice_edges(*shape_of(config, num_nodes), wraps=config.wraps))
    rate = np.asarray(facts.rate, np.float32)
    if config.shared == "all":
        return Params(jnp.zeros(()), jnp.asarray(0.5 * _logit(rate.mean())))
    return Params(jnp.zeros(num_edges), jnp.asarray(0.5 * _logit(rate)))


def _logit(rate: Any) -> Any:
    return np.log(rate) - np.log1p(-rate)


def train(
    config: Config, table: Table, workdir: str | pathlib.Path | None = None, **how: Any
) -> FittedLattice:
    """Train a lattice on the rows of a table; killed at any moment, it can go on.

    Args:
        config: settings.
        table: complete rows, or rows whose truth is known.
        workdir: run folder for checkpoints and ``log.jsonl``; nothing is written without it.
        **how: resume, overwrite, report, should_stop (``run.How``).

    Raises:
        ValueError: settings, rows and checkpoint do not go together.
        NonFiniteLossError: the loss became NaN or infinite; the last checkpoint is kept.
        InterruptedTraining: ``should_stop`` said so; the state was saved first.
    """
    facts, bits = units.table_facts(config.threshold, table)
    start = _start(config, facts)
    shape = shape_of(config, len(facts.columns))
    phase = markov.PhaseSettings(config.negative_phase, config.num_chains, config.num_sweeps)
    stage = markov.make_stage(
        phase, config.pace, start, graph_of=lambda params: _graph(config, shape, params)
    )._replace(decayed=("couplings",) * len(config.pace.decays))
    bits = bits.astype(np.int32)
    params = units.train(SYSTEM, config, facts, bits, stage, start, How(workdir, **how))
    return FittedLattice(config, facts, params)


def load(workdir: str | pathlib.Path) -> FittedLattice:
    """Return the lattice of a finished run.

    Raises:
        ValueError: the folder has no checkpoint, an unfinished or a damaged one, or one of
            another system.
    """
    describe = functools.partial(units.describe, Config)
    return FittedLattice(*run.load(workdir, SYSTEM, describe, _start))
