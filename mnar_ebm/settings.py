"""The groups of settings: model, optimisation, negative phase, unbiased rows."""

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

from mnar_ebm import _checks
from mnar_ebm._settings import check_settings, setting
from mnar_ebm.likelihoods import LIKELIHOODS
from mnar_ebm.missingness import MECHANISMS
from mnar_ebm.negative_phases import NEGATIVE_PHASES
from mnar_ebm.nets.convolution import NETWORKS

TILTS = ("none", "data", "latent", "joint")
SIGNS = ("unknown", "high", "low")
SLOPES = {"flat": 0.0, "high": 1.0, "low": -1.0}
"""Slope of each column's link to its own value, in standard units, that a start begins with."""

SLOPE_STARTS = (*SLOPES, "best")
DECODERS = ("mlp", "linear", "linear_mlp")
PROPOSALS = ("encoder", "laplace", "point")
ACTIVATIONS = ("tanh", "relu")
SCALES = ("shared", "per_feature", "per_latent")
ENERGIES = ("additive", "network", "clusters")
UNBIASED_ENERGIES = ("none", *ENERGIES, "best")
CHAIN_STARTS = ("base", "data")
SCHEDULES = ("cosine", "constant")
STANDARDISERS = ("observed", "yeo_johnson", "none")

CONVOLUTION = {
    "num_channels": functools.partial(
        setting,
        16,
        "Channels of the first convolution; the others have twice as many.",
        at_least=1,
    ),
    "num_halvings": functools.partial(
        setting,
        2,
        "Convolutions, or residual blocks, each of which halves the image.",
        at_least=1,
    ),
    "spectral_norm": functools.partial(
        setting, False, "Keep kernels of convolutions to spectral norm 1."
    ),
}
"""Settings of convolutional energies, by name: those of a tilt are those of a density."""


@dataclasses.dataclass(frozen=True)
class ModelSettings:
    """What fixes the shape and the meaning of the parameters of a model."""

    tilt: str = setting("latent", "What the energy reads: nothing, x, z, or both.", choices=TILTS)
    mechanism: str = setting(
        "selfmasking_probit",
        "Model of why values are missing; none ignores it.",
        choices=MECHANISMS,
    )
    gap_terms: bool = setting(
        False,
        "Let the mechanism read, beside what it is named for, the gaps of earlier columns and the "
        "values observed among these, by which gaps go together without hiding themselves; "
        "ignorable reads just them.",
    )
    gap_latents: int = setting(
        0,
        "Latents of the gaps, 0 to 3, that the mechanism reads beside what it is named for and the "
        "decoder does not, by which gaps go together too.",
        between=(0, 3),
    )
    own_slopes: tuple[float, ...] = setting(
        (),
        "Of each encoded column, a factor on the slope that slope_start begins with, under "
        "self-masking of unknown sign: -1 reverses it, 0 fixes the slope at 0. Empty: 1.",
    )
    sign: str = setting(
        "unknown",
        "Values that a self-masking mechanism hides; unknown: learned per column.",
        choices=SIGNS,
    )
    likelihood: str = setting(
        "gaussian",
        "Distribution of a value given the latent, of the numeric columns of a table that has "
        "discrete ones, too; two_part: Gaussian but for an atom in each column that heaps on its "
        "least or largest value, if standardised.",
        choices=LIKELIHOODS,
    )
    decoder: str = setting(
        "linear",
        "Map from the latent to the mean: network, linear, or their sum.",
        choices=DECODERS,
    )
    decoder_scale: str = setting(
        "per_feature",
        "One scale for all, one per column, or one per column and latent.",
        choices=SCALES,
    )
    column_gain: bool = setting(
        True, "Learn a factor of the mean of each column, and of its scale, unless that is shared."
    )
    proposal: str = setting(
        "encoder",
        "Draw latents by an encoder, which is fitted too, or, for a linear decoder, from the "
        "normal at the mode of each row's posterior; point: no draw, an autoencoder without a "
        "prior, whose bound is the likelihood of a row given its code.",
        choices=PROPOSALS,
    )
    latent_dim: int = setting(20, "Dimensions of the latent that is decoded.", at_least=1)
    hidden_dim: int = setting(
        128, "Units in each hidden layer of encoder, decoder and energy.", at_least=1
    )
    hidden_dims: tuple[int, ...] = setting(
        (),
        "Units of each hidden layer of the encoder, and from the last to the first of the decoder; "
        "empty: two of hidden_dim each.",
    )
    activation: str = setting(
        "tanh", "Of the hidden layers of encoder and decoder.", choices=ACTIVATIONS
    )
    show_mask: bool = setting(
        True, "Let the encoder read the mask beside the row with zeros in its gaps."
    )
    network: str = setting(
        "mlp",
        "Of the energy. The convolutional ones read a row as the pixels of a square image, and are "
        "of a data tilt alone.",
        choices=("mlp", *NETWORKS),
    )
    num_channels: int = CONVOLUTION["num_channels"]()
    num_halvings: int = CONVOLUTION["num_halvings"]()
    spectral_norm: bool = CONVOLUTION["spectral_norm"]()
    energy_bound: float = setting(
        20.0,
        "Largest absolute value b of an energy, in nats: base draws weighted by it keep an "
        "effective share of 1/cosh(b)^2 at least, 0.07 with b = 2.",
        is_positive=True,
    )

    def __post_init__(self) -> None:
        """Check every value; raise ``ValueError`` or ``TypeError`` naming the setting and why."""
        check_settings(self)
        object.__setattr__(self, "own_slopes", _checks.read_numbers("own_slopes", self.own_slopes))
        if self.own_slopes and not (
            MECHANISMS[self.mechanism].slopes == "own" and self.sign == "unknown"
        ):
            raise ValueError(
                "own_slopes: expected none but for self-masking of unknown sign, got "
                f"{self.own_slopes} for {self.mechanism} of sign {self.sign}"
            )
        object.__setattr__(self, "hidden_dims", _read_widths(self.hidden_dims))
        if self.proposal == "point" and self.tilt != "none":
            raise ValueError(
                "proposal: expected encoder with a tilt, for an autoencoder is no density, got "
                f"'point' with tilt {self.tilt!r}"
            )
        if self.network != "mlp" and self.tilt not in ("none", "data"):
            raise ValueError(
                f"network: expected mlp for a tilt that reads the latent, got {self.network!r}"
            )
        if self.proposal == "laplace" and (
            self.decoder != "linear" or self.decoder_scale == "per_latent"
        ):
            raise ValueError(
                "proposal: expected encoder, for laplace takes a linear decoder whose scale is not "
                f"per_latent, got {self.proposal!r} for {self.decoder}, {self.decoder_scale}"
            )

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each convolution of the energy, if it has some."""
        return (self.num_channels, *[2 * self.num_channels] * (self.num_halvings - 1))

    @property
    def widths(self) -> tuple[int, ...]:
        """Units of each hidden layer of the encoder."""
        return self.hidden_dims or (self.hidden_dim,) * 2

    @property
    def hides_itself(self) -> tuple[float, ...]:
        """``own_slopes`` as 0 and 1: which encoded columns may hide themselves. [D] or empty."""
        return tuple(float(slope != 0) for slope in self.own_slopes)


def _read_widths(values: Iterable[Any]) -> tuple[int, ...]:
    """Return units of layers, whole numbers from 1 on, which may be given as text."""
    numbers = _checks.read_numbers("hidden_dims", values)
    if any(number < 1 or number != int(number) for number in numbers):
        raise ValueError(f"hidden_dims: expected whole numbers from 1 on, got {values!r}")
    return tuple(map(int, numbers))


@dataclasses.dataclass(frozen=True)
class Optimisation:
    """How the stages base, tilt and joint are trained."""

    slope_start: str = setting(
        "flat",
        "Where a self-masking mechanism of unknown sign, or a linear one, starts: flat, no value "
        "is hidden more than another; high or low, these values of every column are; best, each is "
        "tried for a while and the held-out bound decides, on mechanism_weight_decay too, if that "
        "is 0.",
        choices=SLOPE_STARTS,
    )
    num_importance_samples: int = setting(
        20, "Importance samples K of the bound that is trained.", at_least=1
    )
    batch_size: int = setting(
        128, "Rows in a step; those of a smaller table come more than once.", at_least=1
    )
    learning_rate: float = setting(
        3e-3, "Peak of Adam's learning rates for the base.", is_positive=True
    )
    schedule: str = setting(
        "cosine", "Learning rates warm up and decay to 0, or stay at their peak.", choices=SCHEDULES
    )
    num_steps: int = setting(6000, "Steps of the stage base.", at_least=1)
    tilt_learning_rate: float = setting(3e-4, "Peak learning rate of the tilt.", is_positive=True)
    tilt_steps: int = setting(2000, "Steps of the stage tilt.", at_least=0)
    joint_steps: int = setting(
        0, "Steps of the stage joint, in which base and tilt move together; 0: none.", at_least=0
    )
    weight_decay: float = setting(
        0.0, "Decoupled weight decay of the encoder; 0: none.", at_least=0
    )
    mechanism_weight_decay: float = setting(
        0.0, "Weight decay of what a linear mechanism reads of other columns; 0: none.", at_least=0
    )
    slope_precision: float = setting(
        0.0,
        "1/sd^2 of a normal prior of asinh of a mechanism's slopes in own values, for a table "
        "hardly tells how steep a steep one is; 0: none.",
        at_least=0,
    )
    tilt_weight_decay: float = setting(
        0.0, "Decoupled weight decay of the energy's kernels; 0: none.", at_least=0
    )
    ema_decay: float = setting(
        0.0,
        "Decay of the running mean of parameters that is evaluated; 0: none.",
        between=(0, 0.9999),
    )
    validation_fraction: float = setting(
        0.1,
        "Share of rows held out for early stopping and for the tilt's scale; 0: none, every row is "
        "trained on and the last iterate is kept, without a tilt alone.",
        between=(0, 0.5),
    )
    patience: int = setting(
        20, "Evaluations without a better held-out bound before a stage stops.", at_least=1
    )

    def __post_init__(self) -> None:
        """Check every value; raise ``ValueError`` or ``TypeError`` naming the setting and why."""
        check_settings(self)
        if self.validation_fraction == 0 and self.slope_start == "best":
            raise ValueError(
                "validation_fraction: expected above 0 with slope_start best, which is chosen on "
                "held-out rows, got 0"
            )


@dataclasses.dataclass(frozen=True)
class NegativeSettings:
    """How log Z is estimated while a tilt is trained."""

    negative_phase: str = setting(
        "snis", "Estimator of the tilt's negative phase.", choices=NEGATIVE_PHASES
    )
    num_negatives: int = setting(
        1024, "Base draws or chains N in one estimate of the negative phase.", at_least=1
    )
    num_chain_steps: int = setting(
        10, "MALA steps of each chain in a step of training, for cd and pcd.", at_least=1
    )
    chain_start: str = setting(
        "base",
        "Where the chains of cd start: at draws of the base, or at rows of the batch with latents "
        "and missing values drawn, which are nearer to the model but not of its law.",
        choices=CHAIN_STARTS,
    )
    chain_step_size: float = setting(
        0.2, "Step size of these chains, in units of the base's noise.", is_positive=True
    )
    replay_size: int = setting(
        10_000,
        "Chains that pcd keeps, at least num_negatives; each step advances num_negatives of them.",
        at_least=1,
    )
    restart_share: float = setting(
        0.05,
        "Share of the chains that pcd starts again from the base at each step.",
        between=(0, 1),
    )

    def __post_init__(self) -> None:
        """Check every value; raise ``ValueError`` or ``TypeError`` naming the setting and why."""
        check_settings(self)
        phase = NEGATIVE_PHASES[self.negative_phase]
        is_fresh = phase.has_chains and not phase.is_persistent
        if self.chain_start != "base" and not is_fresh:
            raise ValueError(
                f"chain_start: expected base with negative_phase {self.negative_phase}, "
                f"got {self.chain_start!r}"
            )
        if phase.is_persistent and self.replay_size < self.num_negatives:
            raise ValueError(
                f"replay_size: expected at least num_negatives={self.num_negatives}, "
                f"got {self.replay_size}"
            )


@dataclasses.dataclass(frozen=True)
class UnbiasedSettings:
    """What is done with an unbiased sample of the population, if there is one."""

    unbiased_share: float = setting(
        0.5,
        "Least share of unbiased rows among those that the first stages are trained on: few rows "
        "are repeated until they make it up.",
        between=(0, 0.9),
    )
    unbiased_energy: str = setting(
        "best",
        "Second energy, fitted to the unbiased rows: a sum over columns, a network, new shares of "
        "clusters of what the model draws, or the best by the bound on folds of these rows that it "
        "was not fitted to.",
        choices=UNBIASED_ENERGIES,
    )
    unbiased_steps: int = setting(500, "Steps in which the second energy is fitted.", at_least=1)
    unbiased_folds: int = setting(
        5,
        "Folds of the unbiased rows; 0: none, the energy that is named is taken as it fits these "
        "rows, with the least weight decay, whole.",
    )

    def __post_init__(self) -> None:
        """Check every value; raise ``ValueError`` or ``TypeError`` naming the setting and why."""
        check_settings(self)
        if self.unbiased_folds != 0:
            _checks.check_at_least("unbiased_folds", self.unbiased_folds, 2)
        elif self.unbiased_energy == "best":
            raise ValueError(
                f"unbiased_energy: expected one of {', '.join(ENERGIES)} with unbiased_folds 0, "
                "which choose none, got 'best'"
            )
