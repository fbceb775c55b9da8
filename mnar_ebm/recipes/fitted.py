"""A density of a table's rows that was fitted: its settings, its units, and what is made of it.

Columns are brought to mean 0 and sd 1, or all together where they are pixels of an image; numbers
that are whole are spread by uniform noise first, so that they have a density. What is fitted is the
density of rows in these units, with normal noise added if so told.
"""

import dataclasses
import functools
from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from mnar_ebm import _checks
from mnar_ebm._settings import setting
from mnar_ebm.data.table import Standardiser, Table
from mnar_ebm.models import ebm as models
from mnar_ebm.models.ebm import EBM, EBMParams
from mnar_ebm.nets.convolution import NETWORKS, image_shape
from mnar_ebm.recipes import density, images, negatives, noise, run
from mnar_ebm.recipes.images import ImageSettings
from mnar_ebm.recipes.negatives import ChainSettings
from mnar_ebm.recipes.run import RunConfig
from mnar_ebm.samplers.smc import SMCEstimate
from mnar_ebm.settings import CONVOLUTION
from mnar_ebm.training.run_folder import Record
from mnar_ebm.types import Array

NUM_MEAN_DRAWS = 100
"""Least number of draws whose mean fills a gap."""

NUM_PARTICLES, MOVES, STEP_SIZE = 1000, 30, 0.01
"""Particles that draws are taken from, steps of MALA at each temperature, and their size."""


LONG_RUN = (100, 1000, 10_000)
"""Steps after which chains are looked at."""


@dataclasses.dataclass(frozen=True)
class DensityConfig(RunConfig):
    """Settings of a density, of the chains that fit it and of the rows that it is of."""

    network: str = setting(
        "mlp",
        "Of the energy. The convolutional ones read a row as the pixels of a square image, whose "
        "columns have one mean and one standard deviation.",
        choices=("mlp", *NETWORKS),
    )
    num_channels: int = CONVOLUTION["num_channels"]()
    num_halvings: int = CONVOLUTION["num_halvings"]()
    spectral_norm: bool = CONVOLUTION["spectral_norm"]()
    reference_scale: float = setting(
        1.5, "Standard deviation of the reference, in those of the columns.", is_positive=True
    )
    data_noise: float = setting(
        0.0,
        "Standard deviation of normal noise in rows, in those of the columns, anew at each step: "
        "what is fitted is their density with it, and draws are shown without it.",
        at_least=0,
    )
    jitter: float = setting(
        0.0,
        "Width of uniform noise added to values, in their own units: 1 for whole numbers, so that "
        "they have a density.",
        at_least=0,
    )
    num_chains: int = setting(1000, "Chains that pcd and energy_matching carry along.", at_least=1)
    num_chain_steps: int = setting(10, "MALA steps of a chain in a step.", at_least=1)
    average_decay: float = setting(
        0.99, "Decay of the running mean of parameters that is kept; 0: none.", between=(0, 0.9999)
    )

    @property
    def images(self) -> ImageSettings:
        """How a convolutional network is made."""
        return ImageSettings(self.num_channels, self.num_halvings, self.spectral_norm)

    @property
    def chains(self) -> ChainSettings:
        """How chains are run in training."""
        return ChainSettings("mala", self.num_chains, self.num_chain_steps)

    @property
    def fitted_noise(self) -> float:
        """Standard deviation of the noise in the rows whose density is fitted."""
        return self.data_noise


class Facts(NamedTuple):
    """What a density must know of the table that it is fitted to.

    Attributes:
        columns: the D names.
        standardiser: the map to standard units.
        lowest: least value of each column. [D]
        highest: largest. [D]
    """

    columns: tuple[str, ...]
    standardiser: Standardiser
    lowest: tuple[float, ...]
    highest: tuple[float, ...]

    def to_json(self) -> Record:
        """Return plain lists."""
        return self._asdict() | {"standardiser": self.standardiser.to_json()}

    @classmethod
    def from_json(cls, fields: Record) -> "Facts":
        """Return the facts that ``to_json`` described."""
        standardiser = Standardiser.from_json(fields["standardiser"])
        ends = (tuple(fields[name]) for name in ("lowest", "highest"))
        return cls(tuple(fields["columns"]), standardiser, *ends)


class FittedDensity(NamedTuple):
    """A trained density, and what it knows of its table.

    Attributes:
        config: settings.
        facts: what it knows of its table.
        params: what was learned.
        ebm: the functions of the model.
    """

    config: DensityConfig
    facts: Facts
    params: EBMParams
    ebm: EBM

    def standardise(self, x: np.ndarray) -> np.ndarray:
        """Return rows in standard units, NaN in their gaps. [N, D]."""
        x = _checks.check_table("x", x, len(self.facts.columns), self.facts.columns)
        return self.facts.standardiser.apply(x).astype(np.float32)

    def original(self, standard: Array | np.ndarray) -> np.ndarray:
        """Return rows in their own units; without the jitter, that is as whole numbers. [N, D]."""
        x = self.facts.standardiser.invert(np.asarray(standard, np.float64))
        if self.config.network != "mlp":
            x = np.clip(x, min(self.facts.lowest), max(self.facts.highest))
        if self.config.jitter == 0:
            return x
        whole = np.round(x / self.config.jitter) * self.config.jitter
        return np.clip(whole, self.facts.lowest, self.facts.highest)

    def as_fitted(self, standard: np.ndarray, seed: int = 0) -> np.ndarray:
        """Return rows in standard units with the noise that was fitted with them. [N, D]."""
        drawn = np.random.default_rng((seed, 1)).normal(size=standard.shape)
        return (standard + self.config.fitted_noise * drawn).astype(np.float32)

    def shown(self, draws: Array) -> np.ndarray:
        """Return draws in their own units, without the noise that was fitted with them. [N, D]."""
        if not self.config.fitted_noise:
            return self.original(draws)
        logdensity_fn = functools.partial(models.log_unnormalised, self.ebm, self.params)
        clean = functools.partial(noise.denoise, logdensity_fn, self.config.fitted_noise)
        return self.original(jax.lax.map(clean, draws, batch_size=256))

    def sample(self, num_samples: int, seed: int = 0) -> SMCEstimate:
        """Return draws in standard units, of a crowd of 1000 particles or more.

        Args:
            num_samples: N.
            seed: of the particles.
        """
        key_particles, key_choice = jax.random.split(jax.random.key(seed))
        num_particles = max(num_samples, NUM_PARTICLES)
        sizes = num_particles, STEP_SIZE, MOVES
        crowd = density.sample(key_particles, self.ebm, self.params, *sizes)
        chosen = jax.random.permutation(key_choice, num_particles)[:num_samples]
        return crowd._replace(draws=crowd.draws[chosen])

    def bracket(self, draws: Array, seed: int = 0, num_temperatures: int = 200) -> density.Bracket:
        """Return log Z from below and, as far as the draws are the model's, from above."""
        key = jax.random.key(seed)
        sizes = num_temperatures, STEP_SIZE, MOVES
        return density.bracket(key, self.ebm, self.params, draws, *sizes)

    def mean_log_unnormalised(self, standard: np.ndarray) -> float:
        """Return the mean of log p + log Z of rows in standard units."""
        each = functools.partial(models.log_unnormalised, self.ebm, self.params)
        return float(jax.lax.map(each, jnp.asarray(standard), batch_size=256).mean())

    def mean_energy(self, standard: np.ndarray | Array) -> float:
        """Return the mean energy of rows in standard units, in nats."""
        each = functools.partial(self.ebm.energy, self.params.energy)
        return float(jax.lax.map(each, jnp.asarray(standard), batch_size=256).mean())

    def settle(self, draws: Array, num_steps: int, seed: int = 0) -> Array:
        """Return chains from draws in standard units, after steps of MALA. [N, D] -> [N, D]."""
        chains = ChainSettings("mala", len(draws), num_steps)
        size = jnp.asarray(STEP_SIZE)
        return _advance(jax.random.key(seed), self.ebm, self.params, draws, size, chains)[0]

    def long_run(self, draws: Array, seed: int = 0) -> Iterator[tuple[int, Array]]:
        """Yield where chains from draws are, and after how many steps. [N, D].

        What drifts for ever is no density of the data, but one that short chains do not reach.
        """
        yield 0, draws
        done = 0
        for number, steps in enumerate(LONG_RUN):
            draws, done = self.settle(draws, steps - done, seed + number), steps
            yield steps, draws

    def impute(
        self, x: np.ndarray, num_imputations: int, seed: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return rows whose gaps are filled by chains on what is missing of each (``density``).

        Args:
            x: rows in their own units, NaN where missing. [N, D]
            num_imputations: M.
            seed: of the chains.

        Returns:
            The mean of 100 draws at least, [N, D], and M draws of the rows, [M, N, D], observed
            cells as they came; and of the n rows with gaps the share of candidates that their
            chains effectively started from, [n].
        """
        standard, is_observed = self.as_fitted(self.standardise(x), seed), ~np.isnan(x)
        num_draws = max(num_imputations, NUM_MEAN_DRAWS)
        with_gaps = np.flatnonzero(~is_observed.all(axis=1))
        keys = jax.random.split(jax.random.key(seed), len(x))
        draws, shares = np.repeat(np.asarray(x, float)[None], num_draws, axis=0), []
        fill = functools.partial(density.inpaint, num_draws=num_draws)
        for row in with_gaps:
            given = jnp.nan_to_num(standard[row])
            found = fill(keys[row], self.ebm, self.params, given, is_observed[row])
            draws[:, row] = np.where(is_observed[row], x[row], self.shown(found.draws))
            shares.append(float(found.ess_share))
        return draws.mean(axis=0), draws[:num_imputations], np.array(shares)


_advance = jax.jit(negatives.advance, static_argnums=(1, 5))


def table_facts(config: DensityConfig, table: Table) -> tuple[Facts, np.ndarray]:
    """Return the facts of a table, and its rows in standard units. [N, D].

    Raises:
        ValueError: the table has gaps, or discrete columns.
    """
    x = run.complete_rows(table)
    if table.blocks:
        raise ValueError(f"{table.name}: expected numeric columns, got encoded levels")
    noise = np.random.default_rng((config.seed, len(x))).uniform(-0.5, 0.5, x.shape)
    spread = x + config.jitter * noise
    standardiser = Standardiser.fit(spread, np.ones(x.shape, bool))
    if config.network != "mlp":
        image_shape(x.shape[1])
        standardiser = images.standardiser(spread)
    ends = (tuple(map(float, end)) for end in (x.min(axis=0), x.max(axis=0)))
    rows = standardiser.apply(spread).astype(np.float32)
    return Facts(table.columns, standardiser, *ends), rows
