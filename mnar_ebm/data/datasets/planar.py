r"""Eight densities in the plane that generative models are shown on, each with its log-density.

    eight_gaussians   on a circle, of unequal weights             two_moons      half circles
    rings             three circles with normal noise             two_spirals    from one centre
    pinwheel          five Gaussians, twisted                     swiss_roll     one spiral
    checkerboard      squares with blurred edges                  cosine         noise about a wave

They have the shapes of the usual toys, but a law that can be evaluated: a distance to the truth
is then a quadrature and not a picture. All lie well inside [-6, 6]².
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy import special, stats

from mnar_ebm.data.datasets.toys import GaussianMixture, Toy

HALF_WIDTH = 6.0
"""Of the square [-6, 6]² that holds all of every density, but for less than 1e-6."""


class BlurredCurves(NamedTuple):
    """Points on curves, as many on each, blurred: x = curve(t) + noise e, e standard normal.

    The law of the curve is that of its nodes, each with an equal weight; they lie closer than the
    noise, and so x has the density of a smooth curve.

    Attributes:
        nodes: points of the curves. [M, 2]
        noise: the standard deviation of the noise.
    """

    nodes: np.ndarray
    noise: float

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, 2]."""
        chosen = self.nodes[rng.integers(len(self.nodes), size=num_rows)]
        return chosen + self.noise * rng.standard_normal((num_rows, 2))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""
        found = np.empty(len(x))
        scaled = self.nodes / self.noise**2
        offset = 0.5 * (self.nodes * scaled).sum(axis=1)
        for first in range(0, len(x), 4096):  # [4096, M] at once
            part = slice(first, first + 4096)
            found[part] = special.logsumexp(x[part] @ scaled.T - offset, axis=1)
        found -= 0.5 * (x**2).sum(axis=1) / self.noise**2
        return found - np.log(2 * np.pi * self.noise**2 * len(self.nodes))


class Rings(NamedTuple):
    """Circles about 0 with a uniform angle, as often each, blurred by normal noise σ.

    ``p(x|r) = exp(-(|x| - r)² / 2σ²) I_0e(r |x| / σ²) / (2 π σ²)``, I_0e(v) = exp(-v) I_0(v)

    Attributes:
        radii: of the circles.
        noise: the standard deviation of the noise.
    """

    radii: tuple[float, ...]
    noise: float

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, 2]."""
        angle = rng.uniform(0, 2 * np.pi, num_rows)
        radius = rng.choice(self.radii, num_rows)[:, None]
        circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return circle + self.noise * rng.standard_normal((num_rows, 2))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""
        size, variance = np.linalg.norm(x, axis=1), self.noise**2
        terms = [
            -0.5 * (size - radius) ** 2 / variance + np.log(special.i0e(radius * size / variance))
            for radius in self.radii
        ]
        return special.logsumexp(terms, axis=0) - np.log(2 * np.pi * variance * len(self.radii))


class Pinwheel(NamedTuple):
    """Gaussians at a distance from 0, each turned by 2πk/K, then all by an angle twist |x|.

    A turn by an angle that depends on |x| alone keeps areas, so that no Jacobian is needed.

    Attributes:
        num_arms: K.
        radius: of the means.
        scales: standard deviations outwards and across. [2]
        twist: radians for each unit of |x|.
    """

    num_arms: int
    radius: float
    scales: tuple[float, float]
    twist: float

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, 2]."""
        arm = rng.standard_normal((num_rows, 2)) * self.scales + [self.radius, 0.0]
        angle = 2 * np.pi * rng.integers(self.num_arms, size=num_rows) / self.num_arms
        return _turn(arm, angle + self.twist * np.linalg.norm(arm, axis=1))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""
        back = -self.twist * np.linalg.norm(x, axis=1)
        law = stats.multivariate_normal([self.radius, 0.0], np.square(self.scales))
        angles = 2 * np.pi * np.arange(self.num_arms) / self.num_arms
        terms = [law.logpdf(_turn(x, back - angle)) for angle in angles]
        return special.logsumexp(terms, axis=0) - np.log(self.num_arms)


class Checkerboard(NamedTuple):
    """A uniform point of every other square of 4 x 4, blurred by normal noise σ.

    In each square both coordinates are independent, with the density
    ``(Φ((x - low) / σ) - Φ((x - high) / σ)) / (high - low)``

    Attributes:
        width: of a square.
        noise: the standard deviation of the noise.
    """

    width: float
    noise: float

    @property
    def corners(self) -> np.ndarray:
        """Return the lower left corner of each of the eight squares. [8, 2]."""
        both = np.stack(np.meshgrid(range(4), range(4), indexing="ij"), axis=-1).reshape(-1, 2)
        return self.width * (both[both.sum(axis=1) % 2 == 0] - 2.0)

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, 2]."""
        corner = self.corners[rng.integers(8, size=num_rows)]
        inside = self.width * rng.random((num_rows, 2))
        return corner + inside + self.noise * rng.standard_normal((num_rows, 2))

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""
        from_low = (x[:, None] - self.corners) / self.noise  # [N, 8, 2]
        from_high = from_low - self.width / self.noise
        # of Φ(a) - Φ(b) with a > b, in the lower tail: by symmetry where b is positive
        is_above = from_high > 0
        upper = special.log_ndtr(np.where(is_above, -from_high, from_low))
        lower = special.log_ndtr(np.where(is_above, -from_low, from_high))
        with np.errstate(divide="ignore"):  # far away the difference is below what floats know
            log_share = upper + np.log(-np.expm1(lower - upper))
        terms = (log_share - np.log(self.width)).sum(axis=2)
        return special.logsumexp(terms, axis=1) - np.log(8)


class Wave(NamedTuple):
    """``x_1 ~ N(0, spread²)`` and ``x_2 = height cos(x_1 rate) + noise e``.

    Attributes:
        spread: standard deviation of the first coordinate.
        height: of the wave.
        rate: radians for each unit.
        noise: the standard deviation of the noise.
    """

    spread: float
    height: float
    rate: float
    noise: float

    def sample(self, rng: np.random.Generator, num_rows: int) -> np.ndarray:
        """Return N independent rows [N, 2]."""
        first, noise = rng.standard_normal((2, num_rows))
        first = self.spread * first
        wave = self.height * np.cos(self.rate * first)
        return np.stack([first, wave + self.noise * noise], axis=1)

    def log_prob(self, x: np.ndarray) -> np.ndarray:
        """Return the log-density [N] of the rows."""
        wave = self.height * np.cos(self.rate * x[:, 0])
        first = stats.norm(0, self.spread).logpdf(x[:, 0])
        return first + stats.norm(wave, self.noise).logpdf(x[:, 1])


def eight_gaussians() -> GaussianMixture:
    """Return eight Gaussians on a circle of radius 4, ten deviations apart, of unequal weights."""
    angle = 2 * np.pi * np.arange(8) / 8
    weights = np.array([1.0, 2.0, 1.0, 3.0, 1.0, 2.0, 1.0, 1.0])
    means = 4.0 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return GaussianMixture(
        weights / weights.sum(), means, np.broadcast_to(0.09 * np.eye(2), (8, 2, 2))
    )


def two_moons() -> BlurredCurves:
    """Return two half circles of radius 2, one turned, with noise 0.25."""
    angle = np.pi * (np.arange(100) + 0.5) / 100
    upper = 2.0 * np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1)
    return BlurredCurves(np.concatenate([upper, -upper]), 0.25)


def rings() -> Rings:
    """Return circles of radii 1, 2.25 and 3.5 with noise 0.2."""
    return Rings((1.0, 2.25, 3.5), 0.2)


def pinwheel() -> Pinwheel:
    """Return five arms."""
    return Pinwheel(5, 2.2, (0.7, 0.3), 0.5)


def two_spirals() -> BlurredCurves:
    """Return two arms of a spiral from 0, with noise 0.2."""
    arm = _spiral(0.5, 3.0 * np.pi, 200, 0.4)
    return BlurredCurves(np.concatenate([arm, -arm]), 0.2)


def swiss_roll() -> BlurredCurves:
    """Return one spiral of one and a half turns, with noise 0.25."""
    return BlurredCurves(_spiral(1.5 * np.pi, 4.5 * np.pi, 200, 0.28), 0.25)


def checkerboard() -> Checkerboard:
    """Return squares of width 2 with edges blurred by 0.25."""
    return Checkerboard(2.0, 0.25)


def cosine() -> Wave:
    """Return a wave of two periods with noise 0.3."""
    return Wave(1.2, 2.0, 2.5, 0.3)


PLANAR: dict[str, Callable[[], Toy]] = {
    "eight_gaussians": eight_gaussians,
    "two_moons": two_moons,
    "rings": rings,
    "pinwheel": pinwheel,
    "two_spirals": two_spirals,
    "swiss_roll": swiss_roll,
    "checkerboard": checkerboard,
    "cosine": cosine,
}


def grid(num_points: int, half_width: float = HALF_WIDTH) -> tuple[np.ndarray, float]:
    """Return the centres [n², 2] of n x n cells of [-w, w]², and the area of one."""
    step = 2 * half_width / num_points
    axis = step * (np.arange(num_points) + 0.5) - half_width
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    return points.reshape(-1, 2), step**2


def _spiral(first: float, last: float, num_nodes: int, pitch: float) -> np.ndarray:
    """Return nodes of r = pitch · angle that are as far apart along it. [M, 2]."""
    fine = np.linspace(first, last, 20_000)
    length = np.cumsum(np.sqrt(1.0 + fine**2))
    share = (np.arange(num_nodes) + 0.5) / num_nodes
    angle = np.interp(length[0] + share * (length[-1] - length[0]), length, fine)
    return pitch * angle[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _turn(x: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Return rows turned by an angle each. [N, 2]."""
    c, s = np.cos(angle), np.sin(angle)
    return np.stack([c * x[:, 0] - s * x[:, 1], s * x[:, 0] + c * x[:, 1]], axis=1)
