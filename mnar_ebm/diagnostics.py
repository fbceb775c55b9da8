"""What draws tell of themselves: have the chains mixed, and how many draws are they worth?

Numbers are those of arviz-stats, on plain arrays; this module hands them over and says in words
what they mean.

References:
    A. Vehtari, A. Gelman, D. Simpson, B. Carpenter, P.-C. Bürkner, "Rank-normalization, folding,
    and localization: an improved R-hat for assessing convergence of MCMC", Bayesian Analysis
    16(2), 2021, https://arxiv.org/abs/1903.08008.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from arviz_stats.base import array_stats

from mnar_ebm.types import PyTree

__all__ = [
    "Diagnosis",
    "diagnose",
    "in_words",
    "is_degenerate",
    "pareto_k",
    "summarise",
    "to_inference_data",
]


class Tuning(NamedTuple):
    """Where draws stop to be relied on.

    Attributes:
        unreliable_ess: effective share of base draws below which their weights are not relied on.
        unreliable_k: Pareto shape above which an average over weighted draws converges too slowly
            to be used.
        reliable_ess: effective draws from which R-hat and tail quantiles can be relied on.
        largest_rhat: split R-hat of chains that agree; short chains exceed it by chance, see
            ``in_words``.
        low_acceptance: acceptance rate below which chains hardly move.
        fewest_draws: draws of a chain that can be summarised.
        fewest_weights: weights to whose tail a shape is fitted.
        fewest_tail: weights in that tail.
    """

    unreliable_ess: float = 0.05
    unreliable_k: float = 0.7
    reliable_ess: int = 400
    largest_rhat: float = 1.01
    low_acceptance: float = 0.2
    fewest_draws: int = 4
    fewest_weights: int = 25
    fewest_tail: int = 5


TUNING = Tuning()


class Diagnosis(NamedTuple):
    """Convergence of chains, for each quantity; the leaves are shaped as one draw.

    Attributes:
        ess_bulk: effective draws behind the mean and the median. [...]
        ess_tail: effective draws behind the 5 % and 95 % quantiles, the smaller. [...]
        rhat: rank-normalised split R-hat; 1 if the chains agree, NaN if nothing moved or a draw is
            not finite; of a single chain it compares the halves. [...]
    """

    ess_bulk: PyTree
    ess_tail: PyTree
    rhat: PyTree


def diagnose(draws: PyTree) -> Diagnosis:
    """Return effective sample sizes and R-hat of every coordinate of the draws of some chains.

    Args:
        draws: as in ``samplers.Chains.draws``; each leaf [C, T, ...], T at least 4.

    Raises:
        ValueError: a leaf has fewer than two axes, or fewer than 4 draws a chain.

    Examples:
        >>> draws = np.random.default_rng(0).normal(size=(4, 500, 3))
        >>> diagnosis = diagnose({"x": draws})
        >>> diagnosis.ess_bulk["x"].shape, bool((diagnosis.rhat["x"] < 1.01).all())
        ((3,), True)

    References:
        As for the module: sections 3.2 (R-hat) and 4 (effective sample sizes).
    """
    for leaf in jax.tree.leaves(draws):
        shape = np.shape(leaf)
        if len(shape) < 2 or shape[1] < TUNING.fewest_draws:
            raise ValueError(
                f"draws: expected leaves [chains, at least {TUNING.fewest_draws} draws, ...], "
                f"got {shape}"
            )

    def over(statistic: Any, **settings: Any) -> PyTree:
        axes = {"chain_axis": 0, "draw_axis": 1}
        return jax.tree.map(
            lambda leaf: np.asarray(statistic(np.asarray(leaf, np.float64), **axes, **settings)),
            draws,
        )

    with np.errstate(divide="ignore", invalid="ignore"):  # a coordinate that never moves
        return Diagnosis(
            ess_bulk=over(array_stats.ess, method="bulk"),
            ess_tail=over(array_stats.ess, method="tail", prob=(0.05, 0.95)),
            rhat=over(_rhat),
        )


def _rhat(draws: np.ndarray, **axes: int) -> Any:
    """Return split R-hat of draws [C, T, ...], of the halves of a single chain as of two."""
    num_chains, num_draws = draws.shape[:2]
    if num_chains == 1 and num_draws >= 2 * TUNING.fewest_draws:
        half = num_draws // 2
        draws = np.concatenate([draws[:, :half], draws[:, half : 2 * half]])
    return array_stats.rhat(draws, **axes, method="rank")


def summarise(draws: PyTree, info: Any = ()) -> dict[str, float]:
    """Return the worst coordinate's convergence, and what the sampler reported, over all chains.

    Args:
        draws: each leaf [C, T, ...].
        info: the sampler's info, a NamedTuple or a dict of arrays [C, T]; of its fields
            ``acceptance_rate``, ``is_divergent`` and ``energy_error`` are read where it has them.

    Returns:
        ``num_chains``, ``num_draws`` (of all chains), ``num_nonfinite`` (how many of these hold NaN
        or an infinite value), ``ess_bulk``, ``ess_tail`` and ``rhat``, of the worst coordinate that
        moved, or 0, 0 and NaN if some draw is not finite or none moved; and as far as ``info``
        reaches ``acceptance_rate`` (mean), ``num_divergent`` and ``energy_error``
        (median of |ΔH|, in nats).

    Raises:
        ValueError: as for ``diagnose``.

    References:
        As for ``diagnose``.
    """
    diagnosis = diagnose(draws)
    num_chains, num_draws = np.shape(jax.tree.leaves(draws)[0])[:2]
    num_nonfinite = _num_nonfinite(draws)
    has_moved = not np.isnan(_worst(np.max, diagnosis.rhat)) and not num_nonfinite
    summary = {
        "num_chains": num_chains,
        "num_draws": num_chains * num_draws,
        "num_nonfinite": num_nonfinite,
        "ess_bulk": _worst(np.min, diagnosis.ess_bulk) if has_moved else 0.0,
        "ess_tail": _worst(np.min, diagnosis.ess_tail) if has_moved else 0.0,
        "rhat": _worst(np.max, diagnosis.rhat) if has_moved else math.nan,
    }
    fields = info if isinstance(info, dict) else getattr(info, "_asdict", dict)()
    for field, name, reduce in (
        ("acceptance_rate", "acceptance_rate", np.mean),
        ("is_divergent", "num_divergent", np.sum),
        ("energy_error", "energy_error", lambda error: np.median(np.abs(error))),
    ):
        if field in fields:
            summary[name] = reduce(np.asarray(fields[field], np.float64))
    return {name: float(value) for name, value in summary.items()}


def _num_nonfinite(draws: PyTree) -> int:
    """Return how many draws, of all chains, have a coordinate that is not finite."""
    is_finite = [
        np.isfinite(np.asarray(leaf, np.float64)).reshape(*np.shape(leaf)[:2], -1).all(axis=2)
        for leaf in jax.tree.leaves(draws)
    ]
    return int((~np.all(is_finite, axis=0)).sum())


def _worst(reduce: Callable[[np.ndarray], float], tree: PyTree) -> float:
    """Reduce all leaves to one number; what is NaN, of coordinates that never move, is passed."""
    values = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])
    values = values[~np.isnan(values)]
    return reduce(values) if values.size else math.nan


def in_words(summary: dict[str, float]) -> list[str]:
    """Say what is wrong with the draws, and what to do; nothing if all is well.

    R-hat of C chains that agree is 1 up to about √C / N, N being the draws of all: below four times
    that nothing can be told, so short chains are warned about less easily than at 1.01.

    Args:
        summary: what ``summarise`` returned.

    Returns:
        Warnings, a line each.

    Examples:
        >>> bad = {"num_chains": 4, "num_draws": 4000, "ess_bulk": 5.0, "ess_tail": 9.0}
        >>> for warning in in_words(bad | {"rhat": 1.8}):
        ...     print(warning)
        the chains disagree (R-hat 1.80, above 1.01): run them longer, or temper
        the draws are worth 5 independent ones, of 4000: run longer or thin more
    """
    num_chains, num_draws = summary["num_chains"], summary["num_draws"]
    limit = max(TUNING.largest_rhat, 1 + 4 * math.sqrt(num_chains) / num_draws)
    ess = min(summary["ess_bulk"], summary["ess_tail"])
    warnings = []
    if summary.get("num_nonfinite", 0) > 0:
        warnings.append(
            f"{summary['num_nonfinite']:.0f} of {num_draws:.0f} draws are not finite, the chains "
            "diverged: use a smaller step"
        )
        return warnings
    if math.isnan(summary["rhat"]):
        warnings.append("the chains did not move at all: use a smaller step")
    elif summary["rhat"] > limit:
        warnings.append(
            f"the chains disagree (R-hat {summary['rhat']:.2f}, above {limit:.2f}): "
            "run them longer, or temper"
        )
    if ess < min(TUNING.reliable_ess, num_draws / 2):
        warnings.append(
            f"the draws are worth {ess:.0f} independent ones, of {num_draws:.0f}: "
            "run longer or thin more"
        )
    if summary.get("acceptance_rate", 1.0) < TUNING.low_acceptance:
        warnings.append(
            f"few moves were accepted ({summary['acceptance_rate']:.0%}): use a smaller step"
        )
    if summary.get("num_divergent", 0) > 0:
        warnings.append(
            f"{summary['num_divergent']:.0f} trajectories diverged: where they did the chains "
            "cannot go; use a smaller step"
        )
    return warnings


def pareto_k(log_w: Any) -> float:
    """Return the Pareto shape of the largest importance weights; above 0.7 they mislead.

    Args:
        log_w: log-weights, which need not be normalised; those of weight 0, minus infinity, are
            passed over, for they are no part of the tail. [N]

    Returns:
        The shape. Minus infinity if the largest weights are all the same, which have no tail;
        infinity if so few are above all others that no shape can be fitted, and they carry more
        than half of all weight. NaN where nothing can be told: a log-weight is NaN, or fewer than
        25 are left.

    Examples:
        >>> x = np.random.default_rng(0).normal(size=100_000)
        >>> abs(pareto_k(0.5 * 0.3 * x**2) - 0.3) < 0.1  # w = exp(a x²/2) has shape a
        True

    References:
        A. Vehtari, D. Simpson, A. Gelman, Y. Yao, J. Gabry, "Pareto Smoothed Importance
        Sampling", JMLR 25, 2024, https://arxiv.org/abs/1507.02646.
    """
    log_w = np.asarray(log_w, np.float64)
    if np.isnan(log_w).any():
        return math.nan
    log_w = np.sort(log_w[log_w > -math.inf])
    num_tail = math.ceil(min(0.2 * log_w.size, 3 * math.sqrt(log_w.size)))
    if log_w.size < TUNING.fewest_weights:
        return math.nan
    if np.ptp(log_w[-num_tail:]) == 0:
        return -math.inf
    above = log_w > log_w[-num_tail - 1]
    if above.sum() < TUNING.fewest_tail:
        weights = np.exp(log_w - log_w[-1])
        return math.inf if weights[above].sum() > 0.5 * weights.sum() else math.nan
    _, k = array_stats.psislw(-log_w)  # it takes log-likelihoods, which are -log w
    return float(k)


def is_degenerate(ess_fraction: float, pareto_k: float | None = None) -> bool:
    """Return whether importance weights cannot be relied on.

    Args:
        ess_fraction: effective share of the draws, ESS / N.
        pareto_k: what ``pareto_k`` returned; ``None`` if there is no tail.

    Examples:
        >>> is_degenerate(0.5, 0.2), is_degenerate(0.04), is_degenerate(0.5, 0.8)
        (False, True, True)
    """
    return ess_fraction < TUNING.unreliable_ess or (pareto_k or 0.0) > TUNING.unreliable_k


def to_inference_data(draws: PyTree, info: Any = ()) -> Any:
    """Return the draws of some chains as ArviZ holds them, for its plots and tables.

    Args:
        draws: each leaf [C, T, ...]; a dict gives each variable its name, an array alone is ``x``.
        info: the sampler's info, a tree of arrays [C, T, ...]: the sample statistics, named as
            the draws are; what lies in it and has no such axes is left out.

    Returns:
        ``arviz.InferenceData``, or the ``xarray.DataTree`` that it is from ArviZ 1.0 on.

    Raises:
        ImportError: ArviZ is not installed.
    """
    import arviz

    posterior = {name or "x": leaf for name, leaf in _by_path(draws).items()}
    names = {"is_divergent": "diverging", "logdensity": "lp"}  # of ArviZ's own schema
    statistics = {
        names.get(name, name): leaf for name, leaf in _by_path(info).items() if leaf.ndim >= 2
    }
    groups: dict[str, Any] = {"posterior": posterior, "sample_stats": statistics}
    if hasattr(arviz, "InferenceData"):
        return arviz.from_dict(**groups)
    return arviz.from_dict(groups)


def _by_path(tree: PyTree) -> dict[str, np.ndarray]:
    """Return the leaves by where they are in the tree, with dots between."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf)
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
