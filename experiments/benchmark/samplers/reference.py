"""What a right sampler does, in NumPy, in double precision, straight from definitions."""

from typing import Any

import numpy as np
from scipy import special

from experiments.benchmark.samplers.targets import Target

__all__ = ["expected_acceptance", "gaussian_draws", "mlp_energy", "mlp_langevin", "ula_variance"]


def gaussian_draws(target: Target, seed: int, num_draws: int, variance: np.ndarray) -> np.ndarray:
    """Draw from N(0, diag(variance)). [N, D]."""
    return np.random.default_rng(seed).normal(size=(num_draws, target.dim)) * np.sqrt(variance)


def ula_variance(variance: np.ndarray, step_size: float) -> np.ndarray:
    """Return the variances that ULA itself leaves invariant: 1 / (λ (1 - ηλ/2)), λ = 1/variance."""
    return variance / (1 - step_size / variance / 2)


def expected_acceptance(
    target: Target, sampler: str, step_size: float, num_integration_steps: int
) -> float:
    """Return the mean acceptance rate of exact draws from a Gaussian target.

    The ratio is taken from its definition: p(y) q(x|y) / (p(x) q(y|x)) for MALA, and
    exp(H(x, p) - H(x', p')) for HMC.
    """
    rng = np.random.default_rng(7)
    x = gaussian_draws(target, 8, 20_000, target.square)
    noise = rng.normal(size=x.shape)

    def logdensity(x: np.ndarray) -> np.ndarray:
        return -0.5 * np.sum(x**2 / target.square, axis=-1)

    if sampler == "mala":

        def log_q(y: np.ndarray, x: np.ndarray) -> np.ndarray:
            mean = x - step_size * x / target.square
            return -np.sum((y - mean) ** 2, axis=-1) / (4 * step_size)

        y = x - step_size * x / target.square + np.sqrt(2 * step_size) * noise
        log_ratio = logdensity(y) + log_q(x, y) - logdensity(x) - log_q(y, x)
    else:
        y, momentum = x, noise
        for _ in range(num_integration_steps):
            momentum = momentum - 0.5 * step_size * y / target.square
            y = y + step_size * momentum
            momentum = momentum - 0.5 * step_size * y / target.square
        start = logdensity(x) - 0.5 * np.sum(noise**2, axis=-1)
        log_ratio = logdensity(y) - 0.5 * np.sum(momentum**2, axis=-1) - start
    return float(np.exp(np.minimum(log_ratio, 0)).mean())


def mlp_energy(constants: Any, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the energies of positions and their gradients, by hand. [B, D] -> [B], [B, D]."""
    c = {name: np.asarray(value, np.float64) for name, value in constants.items()}
    first = np.tanh(x @ c["w0"] + c["b0"])
    second = np.tanh(first @ c["w1"] + c["b1"])
    energy = (second @ c["w2"] + c["b2"])[:, 0]
    back = ((c["w2"][:, 0] * (1 - second**2)) @ c["w1"].T) * (1 - first**2)
    return energy, back @ c["w0"].T


def mlp_langevin(target: Target, starts: np.ndarray, num_steps: int, step_size: float) -> Any:
    """Take ULA steps under a network's energy. [B, D] -> [B, D]."""
    rng = np.random.default_rng(9)
    x = starts.astype(np.float64)
    for _ in range(num_steps):
        gradient = mlp_energy(target.constants, x)[1]
        x = x - step_size * gradient + np.sqrt(2 * step_size) * rng.normal(size=x.shape)
    return x


def chi_squared_p_value(counts: np.ndarray, law: np.ndarray) -> float:
    """Return the p-value of counts under a law on as many values."""
    expected = counts.sum() * law
    statistic = np.sum((counts - expected) ** 2 / expected)
    return float(special.chdtrc(len(law) - 1, statistic))
