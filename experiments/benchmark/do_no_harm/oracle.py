"""What one could know at best: E[x_mis | x_obs, s] by the true law of rows and gaps.

Rows are normal, with the moments of the complete table; the gaps have the law of the design. By
importance sampling from the normal law of the hidden cells given the observed ones,

    E[x_mis | x_obs, s] = sum_k w_k x_k,    w_k ∝ P(s | x_obs, x_k),    x_k ~ N(x_mis | x_obs),

with as many x_k, in pairs that mirror each other, as an effective number of draws takes.
"""

import numpy as np

from experiments.benchmark.do_no_harm.gaps import Law

_LEAST_EFFECTIVE = 400
_NUM_SAMPLES = (2_000, 16_000, 128_000)


def complete(
    rng: np.random.Generator, x: np.ndarray, mask: np.ndarray, law: Law, num_draws: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the expected table and draws of it.

    Args:
        rng: of the samples.
        x: the complete table, of a normal law. [N, D]
        mask: ``True`` where observed. [N, D]
        law: of the gaps.
        num_draws: M.

    Returns:
        The table with expectations in its gaps [N, D], and with draws [N, M, D].
    """
    mean, covariance = x.mean(axis=0), np.cov(x.T)
    completed, draws = np.array(x), np.repeat(x[:, None], num_draws, axis=1)
    for row in np.flatnonzero(~mask.all(axis=1)):
        seen = mask[row]
        slopes, spread = _condition(covariance, seen)
        centre = mean[~seen] + slopes @ (x[row] - mean)[seen]
        for num_samples in _NUM_SAMPLES:
            half = rng.normal(size=(num_samples // 2, len(centre))) @ spread.T
            hidden = centre + np.concatenate([half, -half])
            weights = _weights(x[row], seen, hidden, law)
            if weights is not None and 1.0 / np.sum(weights**2) >= _LEAST_EFFECTIVE:
                break
        completed[row, ~seen] = np.average(hidden, axis=0, weights=weights)
        chosen = rng.choice(len(hidden), num_draws, p=weights)
        draws[row][:, ~seen] = hidden[chosen]
    return completed, draws


def _condition(covariance: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes of hidden on seen cells and the root of what these leave. [H, S], [H, H]."""
    cross = covariance[np.ix_(~seen, seen)]
    slopes = np.linalg.solve(covariance[np.ix_(seen, seen)], cross.T).T
    return slopes, np.linalg.cholesky(covariance[np.ix_(~seen, ~seen)] - slopes @ cross.T)


def _weights(row: np.ndarray, seen: np.ndarray, hidden: np.ndarray, law: Law) -> np.ndarray | None:
    """Return the share of each sample [K], or None if the gaps are impossible under all."""
    full = np.repeat(row[None], len(hidden), axis=0)
    full[:, ~seen] = hidden
    log_prob = law.log_prob(full, np.broadcast_to(seen, full.shape))
    if np.isneginf(log_prob).all():
        return None
    weights = np.exp(log_prob - log_prob.max())
    return weights / weights.sum()
