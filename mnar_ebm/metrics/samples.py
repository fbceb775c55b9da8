"""How far samples are from others, in features of some reader or as they are.

total variation     ½ sum_k |p_k - q_k|                                     of class shares
Fréchet distance    |m_1 - m_2|² + tr(C_1 + C_2 - 2 (C_1 C_2)^½)           FID, of features
kernel distance     E k(x, x') + E k(y, y') - 2 E k(x, y)                   KID, of features
neighbourhoods      who lies within the k-th neighbour of whom: precision, recall, density, coverage
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from sklearn.neighbors import NearestNeighbors

from mnar_ebm import _checks


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Return ½ sum_k |p_k - q_k|, the total variation distance of two laws on K classes.

    Args:
        p: probabilities. [K]
        q: probabilities. [K]

    Raises:
        ValueError: the shapes differ.

    References:
        D. A. Levin, Y. Peres, "Markov Chains and Mixing Times", 2nd edition, 2017, prop. 4.2.
    """
    p, q = np.asarray(p, float), np.asarray(q, float)
    if p.shape != q.shape or p.ndim != 1:
        raise ValueError(f"p, q: expected one shape [classes], got {p.shape} and {q.shape}")
    return float(0.5 * np.abs(p - q).sum())


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the squared Fréchet distance of the Gaussians with the moments of two samples.

        |m_1 - m_2|² + tr(C_1 + C_2 - 2 (C_1 C_2)^½)

    Of images' features it is the FID. The trace of the root is the sum of the roots of the
    eigenvalues of C_1 C_2, which are not negative.

    Args:
        first: a sample. [N, F]
        second: another. [M, F]

    Raises:
        ValueError: the samples have other numbers of columns, or fewer than 2 rows.

    References:
        M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a Two
        Time-Scale Update Rule Converge to a Local Nash Equilibrium", NeurIPS 2017,
        https://arxiv.org/abs/1706.08500, eq. 6.
    """
    first, second = _two(first, second, 2)
    difference = first.mean(axis=0) - second.mean(axis=0)
    covariances = np.atleast_2d(np.cov(first.T)), np.atleast_2d(np.cov(second.T))
    eigenvalues = linalg.eigvals(covariances[0] @ covariances[1]).real
    root_trace = np.sqrt(np.maximum(eigenvalues, 0.0)).sum()
    traces = np.trace(covariances[0]) + np.trace(covariances[1])
    return float(difference @ difference + traces - 2.0 * root_trace)


def kernel_distance(first: np.ndarray, second: np.ndarray) -> float:
    """Return the unbiased squared maximum mean discrepancy of two samples, by a cubic kernel.

        E k(x, x') + E k(y, y') - 2 E k(x, y),      k(x, y) = (x·y/F + 1)³

    with x, x' different rows. Of images' features it is the KID: near 0, and below it as often as
    above, for samples of one law, whatever their sizes.

    Args:
        first: a sample. [N, F]
        second: another. [M, F]

    Raises:
        ValueError: the samples have other numbers of columns, or fewer than 2 rows.

    References:
        M. Binkowski, D. J. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", ICLR 2018,
        https://arxiv.org/abs/1801.01401, sec. 4; the estimator is eq. 4.
    """
    first, second = _two(first, second, 2)

    def within(x: np.ndarray) -> float:
        kernel = _cubic(x, x)
        return float((kernel.sum() - np.trace(kernel)) / (len(x) * (len(x) - 1)))

    return within(first) + within(second) - 2.0 * float(_cubic(first, second).mean())


class Neighbourhoods(NamedTuple):
    """What the k nearest neighbours tell of a sample from a model, beside one of data.

    Attributes:
        precision: share of the model's rows within some neighbourhood of data.
        recall: share of the data within some neighbourhood of the model's rows.
        density: neighbourhoods of data that a row of the model is in, over k; 1 on average if the
            laws are one, and more where the model is on the densest part alone.
        coverage: share of the data whose neighbourhood has a row of the model: modes that it left
            out are missing here.
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighbourhoods(data: np.ndarray, model: np.ndarray, num_neighbours: int = 5) -> Neighbourhoods:
    """Return precision, recall, density and coverage of a model's rows.

    The neighbourhood of a row is the ball up to its k-th neighbour in its own sample.

    Args:
        data: a sample of data. [N, F]
        model: one of a model. [M, F]
        num_neighbours: k.

    Raises:
        ValueError: the samples have other numbers of columns, or no more than k rows.

    References:
        T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and Recall
        Metric for Assessing Generative Models", NeurIPS 2019, https://arxiv.org/abs/1904.06991.
        M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and Diversity Metrics for
        Generative Models", ICML 2020, https://arxiv.org/abs/2002.09797, eqs. 2 to 4.
    """
    data, model = _two(data, model, num_neighbours + 1)

    def radius(x: np.ndarray) -> np.ndarray:
        tree = NearestNeighbors(n_neighbors=num_neighbours).fit(x)
        return tree.kneighbors()[0][:, -1]

    squares = (data**2).sum(axis=1)[:, None] + (model**2).sum(axis=1) - 2.0 * data @ model.T
    distance = np.sqrt(np.maximum(squares, 0.0))
    in_data, in_model = distance <= radius(data)[:, None], distance <= radius(model)
    return Neighbourhoods(
        float(in_data.any(axis=0).mean()),
        float(in_model.any(axis=1).mean()),
        float(in_data.sum(axis=0).mean() / num_neighbours),
        float(in_data.any(axis=1).mean()),
    )


def _cubic(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.asarray((x @ y.T / x.shape[1] + 1.0) ** 3)


def _two(first: np.ndarray, second: np.ndarray, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two samples as numbers, or raise ``ValueError`` if they do not go together."""
    first, second = np.asarray(first, float), np.asarray(second, float)
    if first.ndim != 2 or second.ndim != 2 or first.shape[1] != second.shape[1]:
        raise ValueError(
            "first, second: expected shapes [N, F] and [M, F], "
            f"got {first.shape} and {second.shape}"
        )
    _checks.check_at_least("first, second: rows", min(len(first), len(second)), least)
    return first, second
