"""All settings of a run, in one frozen dataclass: what the flags fill in and a checkpoint keeps."""

import dataclasses
from typing import Any

from mnar_ebm import _checks

TILTS = ("none", "data", "latent", "joint")
MECHANISMS = (
    "none",
    "mcar",
    "mar",
    "ignorable",
    "no_self_censoring",
    "selfmasking_probit",
    "selfmasking_logistic",
    "linear",
    "nonlinear",
)
IGNORABLE = ("none", "mcar", "mar", "ignorable")
"""Mechanisms that read no hidden value."""

SIGNS = ("unknown", "high", "low")
SLOPES = {"flat": 0.0, "high": 1.0, "low": -1.0}
"""Slope of each column's link to its own value, in standard units, that a start begins with."""

SLOPE_STARTS = (*SLOPES, "best")
LIKELIHOODS = ("gaussian", "two_part", "student_t", "bernoulli")
DECODERS = ("mlp", "linear", "linear_mlp")
PROPOSALS = ("encoder", "laplace")
SCALES = ("shared", "per_feature", "per_latent")
ENERGIES = ("additive", "network", "clusters")
UNBIASED_ENERGIES = ("none", *ENERGIES, "best")
NEGATIVE_PHASES = ("snis", "jensen", "nce", "cd", "pcd")
SCHEDULES = ("cosine", "constant")
STANDARDISERS = ("observed", "yeo_johnson", "none")


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings of model, training and evaluation; ``Config()`` is ``latent.cfg``.

    Attributes:
        tilt: what the energy reads: nothing, ``x``, ``z``, or both.
        mechanism: the model of why values are missing; ``none`` ignores it.
        gap_terms: whether the mechanism reads, beside what it is named for, the gaps of earlier
            columns and the observed values among these (``missingness.gap_terms``), by which gaps
            go together without hiding themselves; ``ignorable`` reads just them.
        own_slopes: of each encoded column, what the slope that ``slope_start`` says is multiplied
            by, under self-masking of unknown sign: -1 where other values hide themselves than in
            the rest, 0 in a column that hides nothing by its own value, and stays so. Empty: 1.
        sign: which values a self-masking mechanism hides: ``high``, ``low``, or ``unknown``,
            learned per column.
        slope_start: where a self-masking mechanism of unknown sign, or a linear one, starts:
            ``flat``, no value is hidden more than another; ``high`` or ``low``, these values of
            every column are; ``best``, each is tried for a while and the held-out bound decides,
            on ``mechanism_weight_decay`` too, if that is 0 (``tilted.start``).
        likelihood: the distribution of a value given the latent, of the numeric columns of a table
            that has discrete ones too; ``two_part`` is Gaussian but for an atom in each column that
            heaps on its least or largest value (``data.find_atoms``), if standardised.
        decoder: the map from the latent to the mean: network, linear, or their sum.
        decoder_scale: one scale for all, one per column, or one per column and latent.
        column_gain: whether the mean of each column has a factor that is learned, and with it its
            scale, unless that is ``shared``.
        proposal: q(z|x_obs, s), of which latents are drawn: an encoder's, which is fitted too, or,
            for a linear decoder, ``laplace``, the normal at the mode of the posterior of each row.
        latent_dim: L.
        hidden_dim: units in each hidden layer of encoder, decoder and energy.
        show_mask: whether the encoder reads the mask beside the row with zeros in its gaps.
        standardise: ``observed``, columns are brought to mean 0 and standard deviation 1 over
            their observed cells; ``yeo_johnson``, and those of three values or more bent to normal
            (``data.power``), which goes with mechanisms that read no hidden value, for beside
            others it follows the cut that they make; ``none``, they are taken as they are.
        num_importance_samples: K of the bound that is trained.
        batch_size: rows in a step; those of a smaller table come more than once.
        learning_rate: peak of Adam's schedule for the base.
        schedule: ``cosine``, the rate warms up, then decays to 0; ``constant``, it is the peak.
        num_steps: steps of the stage ``base``.
        tilt_learning_rate: as ``learning_rate``, for the stage ``tilt``.
        tilt_steps: steps of the stage ``tilt``.
        energy_bound: b, the largest absolute value of an energy, in nats. Base draws weighted by
            one energy keep an effective share of 1/cosh²(b) at least, 0.07 with b = 2.
        joint_steps: steps of the stage ``joint``, in which base and tilt move together; 0: none.
        negative_phase: the estimator of the tilt's negative phase.
        num_negatives: N, base draws or chains in one estimate of the negative phase.
        num_chain_steps: MALA steps of each chain in a step of training, for ``cd`` and ``pcd``.
        chain_step_size: their step size, in units of the base's noise.
        replay_size: chains that ``pcd`` keeps, at least N; each step advances N of them.
        restart_share: share of these that start again from the base.
        unbiased_share: least share of unbiased rows, if there are any, among those that the first
            stages are trained on: few rows are repeated until they make it up.
        unbiased_energy: the second energy, fitted to the unbiased rows if there are any: ``none``;
            a sum over columns, ``additive``; a ``network``; new shares of ``clusters`` of what the
            model draws; or ``best``, by the bound on folds of these rows that it was not fitted to.
        unbiased_steps: steps in which it is fitted.
        unbiased_folds: F, folds of the unbiased rows; 0: none, the energy that is named is taken as
            it fits these rows, with the least weight decay, whole.
        weight_decay: decoupled weight decay of the encoder; 0: none.
        mechanism_weight_decay: of what a ``linear`` mechanism reads of other columns than the one
            that it hides; 0: none.
        slope_precision: 1/sd² of a normal prior of asinh of a mechanism's slopes in own values: a
            table hardly tells how steep a steep one is; 0: none.
        tilt_weight_decay: decoupled weight decay of the energy's kernels; 0: none.
        ema_decay: decay of the running mean of parameters that is evaluated. 0: none.
        validation_fraction: share of rows held out for early stopping and for the tilt's scale;
            0: none, every row is trained on and the last iterate is kept, without a tilt alone.
        patience: evaluations without a better held-out bound before a stage stops.
        num_imputation_samples: K of the final bound and imputation.
        seed: of everything random.
    """

    tilt: str = "latent"
    mechanism: str = "selfmasking_probit"
    gap_terms: bool = False
    own_slopes: tuple[float, ...] = ()
    sign: str = "unknown"
    slope_start: str = "flat"
    likelihood: str = "gaussian"
    decoder: str = "linear"
    decoder_scale: str = "per_feature"
    column_gain: bool = True
    proposal: str = "encoder"
    latent_dim: int = 20
    hidden_dim: int = 128
    show_mask: bool = True
    standardise: str = "observed"
    num_importance_samples: int = 20
    batch_size: int = 128
    learning_rate: float = 3e-3
    schedule: str = "cosine"
    num_steps: int = 6000
    tilt_learning_rate: float = 3e-4
    tilt_steps: int = 2000
    energy_bound: float = 20.0
    joint_steps: int = 0
    negative_phase: str = "snis"
    num_negatives: int = 1024
    num_chain_steps: int = 10
    chain_step_size: float = 0.2
    replay_size: int = 10_000
    restart_share: float = 0.05
    unbiased_share: float = 0.5
    unbiased_energy: str = "best"
    unbiased_steps: int = 500
    unbiased_folds: int = 5
    weight_decay: float = 0.0
    mechanism_weight_decay: float = 0.0
    slope_precision: float = 0.0
    tilt_weight_decay: float = 0.0
    ema_decay: float = 0.0
    validation_fraction: float = 0.1
    patience: int = 20
    num_imputation_samples: int = 5000
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value; raise ``ValueError`` or ``TypeError`` naming the setting and why."""
        for field in dataclasses.fields(self):
            _checks.check_type(field.name, getattr(self, field.name), field.type)  # type: ignore
        object.__setattr__(self, "own_slopes", _checks.read_numbers("own_slopes", self.own_slopes))
        if self.own_slopes and not (
            self.mechanism.startswith("selfmasking") and self.sign == "unknown"
        ):
            raise ValueError(
                "own_slopes: expected none but for self-masking of unknown sign, got "
                f"{self.own_slopes} for {self.mechanism} of sign {self.sign}"
            )
        _checks.check_choice("tilt", self.tilt, TILTS)
        _checks.check_choice("mechanism", self.mechanism, MECHANISMS)
        _checks.check_choice("sign", self.sign, SIGNS)
        _checks.check_choice("slope_start", self.slope_start, SLOPE_STARTS)
        _checks.check_choice("likelihood", self.likelihood, LIKELIHOODS)
        _checks.check_choice("decoder", self.decoder, DECODERS)
        _checks.check_choice("decoder_scale", self.decoder_scale, SCALES)
        _checks.check_choice("proposal", self.proposal, PROPOSALS)
        if self.proposal == "laplace" and (
            self.decoder != "linear" or self.decoder_scale == "per_latent"
        ):
            raise ValueError(
                "proposal: expected encoder, for laplace takes a linear decoder whose scale is not "
                f"per_latent, got {self.proposal!r} for {self.decoder}, {self.decoder_scale}"
            )
        _checks.check_choice("negative_phase", self.negative_phase, NEGATIVE_PHASES)
        _checks.check_choice("unbiased_energy", self.unbiased_energy, UNBIASED_ENERGIES)
        _checks.check_choice("schedule", self.schedule, SCHEDULES)
        _checks.check_choice("standardise", self.standardise, STANDARDISERS)
        for name in (
            "latent_dim",
            "hidden_dim",
            "num_importance_samples",
            "batch_size",
            "num_steps",
            "num_negatives",
            "num_chain_steps",
            "replay_size",
            "unbiased_steps",
            "patience",
            "num_imputation_samples",
        ):
            _checks.check_whole(name, getattr(self, name), 1)
        if self.unbiased_folds == 0 and self.unbiased_energy == "best":
            raise ValueError(
                f"unbiased_energy: expected one of {', '.join(ENERGIES)} with unbiased_folds 0, "
                "which choose none, got 'best'"
            )
        if self.unbiased_folds != 0:
            _checks.check_whole("unbiased_folds", self.unbiased_folds, 2)
        decays = ("weight_decay", "mechanism_weight_decay", "tilt_weight_decay")
        for name in ("tilt_steps", "joint_steps"):
            _checks.check_whole(name, getattr(self, name), 0)
        for name in (*decays, "slope_precision"):
            _checks.check_at_least(name, getattr(self, name), 0)
            _checks.check_finite(name, getattr(self, name))
        rates = ("learning_rate", "tilt_learning_rate", "chain_step_size", "energy_bound")
        for name in rates:
            _checks.check_positive(name, getattr(self, name))
        _checks.check_between("seed", self.seed, 0, 2**32 - 1)
        _checks.check_between("ema_decay", self.ema_decay, 0, 0.9999)
        _checks.check_between("validation_fraction", self.validation_fraction, 0, 0.5)
        _checks.check_between("restart_share", self.restart_share, 0, 1)
        _checks.check_between("unbiased_share", self.unbiased_share, 0, 0.9)
        if self.validation_fraction == 0 and self.tilt != "none":
            raise ValueError(
                "validation_fraction: expected above 0 with a tilt, whose scale is chosen on "
                "held-out rows, got 0"
            )
        if self.validation_fraction == 0 and self.slope_start == "best":
            raise ValueError(
                "validation_fraction: expected above 0 with slope_start best, which is chosen on "
                "held-out rows, got 0"
            )
        self._check_chains()

    def _check_chains(self) -> None:
        if self.negative_phase not in ("cd", "pcd"):
            return
        if self.likelihood == "bernoulli" and self.tilt in ("data", "joint"):
            raise ValueError(
                f"negative_phase: expected one of snis, jensen, nce for the {self.tilt} tilt under "
                f"likelihood bernoulli, whose values are discrete, got {self.negative_phase!r}"
            )
        if self.negative_phase == "pcd" and self.replay_size < self.num_negatives:
            raise ValueError(
                f"replay_size: expected at least num_negatives={self.num_negatives}, "
                f"got {self.replay_size}"
            )

    def model_fields(self) -> dict[str, Any]:
        """Return the settings that fix the shape and the meaning of the parameters."""
        names = ("tilt", "mechanism", "sign", "likelihood", "decoder", "decoder_scale", "proposal")
        sizes = (
            "gap_terms",
            "column_gain",
            "latent_dim",
            "hidden_dim",
            "show_mask",
            "energy_bound",
        )
        fields = {name: getattr(self, name) for name in (*names, *sizes)}
        return fields | {"own_slopes": self.hides_itself}

    @property
    def hides_itself(self) -> tuple[float, ...]:
        """``own_slopes`` as 0 and 1: which encoded columns may hide themselves. [D] or empty."""
        return tuple(float(slope != 0) for slope in self.own_slopes)
