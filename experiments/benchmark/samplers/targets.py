"""Targets with known moments, in code that NumPy, JAX and torch all run.

A log-density is ``target.logdensity(constants, x, xp)`` of one position [D] or of many [..., D],
with ``xp`` the library's namespace and the constants in the library's arrays: every library
differentiates the same operations in the same precision.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "LENGTHS",
    "MLP_SCALES",
    "TARGETS",
    "EightGaussians",
    "Machine",
    "Target",
    "gaussian",
    "logistic_regression",
    "mlp",
]

Constants = Mapping[str, Any]


class Target(NamedTuple):
    """A density and what is known of it.

    Attributes:
        name: what the table calls it.
        dim: D.
        constants: float32 arrays that the log-density reads.
        logdensity: ``(constants, x [..., D], xp) -> log p(x) up to a constant [...]``.
        square: E x², of each coordinate; the means are 0. [D]
        has_hidden_sign: whether the modes ±x are too far apart for the mean to be tested.
    """

    name: str
    dim: int
    constants: Constants
    logdensity: Callable[[Constants, Any, Any], Any]
    square: np.ndarray = np.zeros(0)
    has_hidden_sign: bool = False


def gaussian(dim: int) -> Target:
    """Build a diagonal Gaussian with variances from 0.01 to 1."""
    variance = np.logspace(-2, 0, dim)
    return Target(
        f"Gaussian-{dim}",
        dim,
        {"precision": (1 / variance).astype(np.float32)},
        lambda c, x, xp: -0.5 * (c["precision"] * x * x).sum(-1),
        variance,
    )


def normal(dim: int) -> Target:
    """Build N(0, I)."""
    return Target(
        f"N(0, I), d = {dim}", dim, {}, lambda c, x, xp: -0.5 * (x * x).sum(-1), np.ones(dim)
    )


def rotated(dim: int, condition: float) -> Target:
    """Build a Gaussian with no axis of its own along a coordinate."""
    variance = np.geomspace(1 / condition, 1, dim)
    axes = np.linalg.qr(np.random.default_rng(7).normal(size=(dim, dim)))[0]
    return Target(
        f"condition {condition:.0f}, rotated, d = {dim}",
        dim,
        {"root": (axes / np.sqrt(variance)).astype(np.float32)},
        lambda c, x, xp: -0.5 * ((x @ c["root"]) ** 2).sum(-1),
        (axes**2) @ variance,
    )


def logistic_regression(num_rows: int, dim: int) -> Target:
    """Build the posterior of an intercept and slopes, each N(0, 1) before, of simulated rows."""
    rng = np.random.default_rng(8)
    columns = np.column_stack([np.ones(num_rows), rng.normal(size=(num_rows, dim - 1))])
    is_one = rng.uniform(size=num_rows) < 1 / (1 + np.exp(-columns @ rng.normal(size=dim)))
    signed = columns * np.where(is_one, 1, -1)[:, None]

    def logdensity(c: Constants, x: Any, xp: Any) -> Any:
        logits = x @ c["signed"].T
        return -xp.logaddexp(0 * logits, -logits).sum(-1) - 0.5 * (x * x).sum(-1)

    return Target(
        f"logistic regression, d = {dim}",
        dim,
        {"signed": signed.astype(np.float32)},
        logdensity,
        _logistic_square(signed),
        has_hidden_sign=True,
    )


def _logistic_square(signed: np.ndarray) -> np.ndarray:
    """Estimate E x² by importance sampling from a Student-t at the mode, to about 1 %. [D]."""
    dim = signed.shape[1]
    mode = np.zeros(dim)
    for _ in range(20):  # Newton's steps
        p = 1 / (1 + np.exp(signed @ mode))
        precision = (signed.T * (p * (1 - p))) @ signed + np.eye(dim)
        mode = mode + np.linalg.solve(precision, signed.T @ p - mode)
    rng = np.random.default_rng(12)
    noise = rng.normal(size=(50_000, dim))
    noise /= np.sqrt(rng.chisquare(8, size=(50_000, 1)) / 8)
    x = mode + np.linalg.solve(np.linalg.cholesky(precision).T, noise.T).T
    log_p = -np.logaddexp(0, -x @ signed.T).sum(-1) - 0.5 * (x**2).sum(-1)
    log_w = log_p + 0.5 * (8 + dim) * np.log1p((noise**2).sum(-1) / 8)
    weights = np.exp(log_w - log_w.max())
    return weights @ x**2 / weights.sum()


def _banana_logdensity(c: Constants, x: Any, xp: Any) -> Any:
    a, b = x[..., 0], x[..., 1]
    return -0.005 * a * a - 0.5 * (b - 0.03 * (a * a - 100)) ** 2


def _funnel_logdensity(c: Constants, x: Any, xp: Any) -> Any:
    v, rest = x[..., 0], x[..., 1:]
    return -v * v / 18 - 0.5 * xp.exp(-v) * (rest * rest).sum(-1) - 4.5 * v


TARGETS = {
    "gaussian": gaussian(100),
    # x_1 ~ N(0, 100), x_2 ~ N(0.03 (x_1² - 100), 1)
    "banana": Target("banana", 2, {}, _banana_logdensity, np.array([100.0, 19.0])),
    # v ~ N(0, 9), x_i ~ N(0, exp(v))
    "funnel": Target(
        "funnel-10",
        10,
        {},
        _funnel_logdensity,
        np.array([9.0, *[math.exp(4.5)] * 9]),
    ),
    "double_well": Target(
        "double well-8",
        8,
        {},
        lambda c, x, xp: -2 * ((x * x - 1) ** 2).sum(-1),
        np.full(8, 0.852136152),  # by quadrature
        has_hidden_sign=True,
    ),
}

LENGTHS: dict[str, Callable[[], Target]] = {
    "normal_1": lambda: normal(1),
    "normal_10": lambda: normal(10),
    "normal_100": lambda: normal(100),
    "scales": lambda: TARGETS["gaussian"],
    "rotated": lambda: rotated(30, 100.0),
    "logistic": lambda: logistic_regression(200, 11),
    "double_well": lambda: TARGETS["double_well"],
}
"""Makers of the targets on which samplers find how long trajectories should be."""

MLP_SCALES = {"small": (64, 8, 50), "medium": (256, 32, 100), "large": (1024, 128, 200)}
"""Chains, dimensions and steps of the scales that torchebm's own benchmarks use."""

_HIDDEN = 128


def mlp(scale: str) -> Target:
    """Build the density exp(-E) of a network with two hidden layers of 128, whatever its integral.

    Args:
        scale: of ``MLP_SCALES``.

    Returns:
        The target; its moments are not known.
    """
    dim = MLP_SCALES[scale][1]
    rng = np.random.default_rng(0)
    sizes = ((dim, _HIDDEN), (_HIDDEN, _HIDDEN), (_HIDDEN, 1))
    weights = {
        f"w{i}": (rng.normal(size=size) / math.sqrt(size[0])).astype(np.float32)
        for i, size in enumerate(sizes)
    }
    biases = {f"b{i}": np.zeros(size[1], np.float32) for i, size in enumerate(sizes)}
    return Target(f"MLP-{scale}", dim, weights | biases, _mlp_logdensity)


def _mlp_logdensity(c: Constants, x: Any, xp: Any) -> Any:
    """Compute -E(x); of one position, a product of a vector and a matrix."""
    hidden = xp.tanh(x @ c["w0"] + c["b0"])
    hidden = xp.tanh(hidden @ c["w1"] + c["b1"])
    return -(hidden @ c["w2"] + c["b2"])[..., 0]


class EightGaussians:
    """A mixture on a circle with unequal weights, times a known constant, and the base N(0, 9 I).

    Only the JAX libraries have samplers for it, so ``xp`` is ``jax.numpy``.
    """

    log_z = 1.234567
    base_scale = 3.0
    scale = 0.3
    weights = np.array([1, 2, 1, 3, 1, 2, 1, 1]) / 12
    centres = 4 * np.stack([f(np.arange(8) * math.pi / 4) for f in (np.cos, np.sin)], axis=-1)

    @classmethod
    def base_logdensity(cls, x: Any, xp: Any) -> Any:
        """Compute log N(x; 0, 9 I) of positions [..., 2]."""
        normaliser = math.log(2 * math.pi * cls.base_scale**2)
        return -0.5 * (x * x).sum(-1) / cls.base_scale**2 - normaliser

    @classmethod
    def logdensity(cls, x: Any, xp: Any) -> Any:
        """Compute log (Z Σ_k w_k N(x; μ_k, 0.09 I)) of positions [..., 2]."""
        difference = x[..., None, :] - xp.asarray(cls.centres, x.dtype)
        terms = -0.5 * (difference * difference).sum(-1) / cls.scale**2
        terms = terms + xp.asarray(np.log(cls.weights), x.dtype)
        largest = terms.max(-1)
        total = largest + xp.log(xp.exp(terms - largest[..., None]).sum(-1))
        return total - math.log(2 * math.pi * cls.scale**2) + cls.log_z

    @classmethod
    def mass_error(cls, draws: np.ndarray, weights: np.ndarray) -> float:
        """Compute the total variation between the modes' masses and those of weighted draws."""
        distance = np.sum((draws[:, None] - cls.centres) ** 2, axis=-1)
        mass = np.bincount(distance.argmin(axis=1), weights=weights, minlength=8)
        return float(np.abs(mass - cls.weights).sum() / 2)


class Machine(NamedTuple):
    """A restricted Boltzmann machine, p(v, h) ∝ exp(b·v + c·h + v W h) on {0, 1}.

    Attributes:
        weights: W. [V, H]
        visible_bias: b. [V]
        hidden_bias: c. [H]
    """

    weights: np.ndarray
    visible_bias: np.ndarray
    hidden_bias: np.ndarray

    @classmethod
    def random(cls, num_visible: int, num_hidden: int) -> "Machine":
        """Draw a machine whose units depend on each other."""
        rng = np.random.default_rng(1)
        shapes = ((num_visible, num_hidden), num_visible, num_hidden)
        scale = 2 / math.sqrt(num_hidden)
        return cls(*((scale * rng.normal(size=shape)).astype(np.float32) for shape in shapes))

    def visible_law(self) -> np.ndarray:
        """Enumerate p(v); v is the binary expansion of its index, first unit first. [2^V]."""
        size = len(self.visible_bias)
        v = (np.arange(2**size)[:, None] >> np.arange(size)) & 1
        free = v @ self.visible_bias + np.logaddexp(0, v @ self.weights + self.hidden_bias).sum(-1)
        law = np.exp(free - free.max())
        return law / law.sum()
