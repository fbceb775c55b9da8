r"""Yeo and Johnson's power transform, which brings a skewed column nearer to normal.

    psi(u) = sign(u) ((1 + |u|)^q - 1) / q,      q = p for u >= 0, 2 - p for u < 0,
    u = (x - o) / c

It is smooth, leaves 0 where it is, and with p in (0, 2) maps the numbers onto the numbers; p = 1
changes nothing. Its derivative is (1 + |u|)^(q - 1). The power is the one under which a normal
column has the highest likelihood.

From their mean in standard deviations values are bent less than incomes need: the logarithm of a
lognormal column is not among these maps. So where that gains more than chance does, values are told
from another origin o, a quantile, in a smaller or a larger unit c.

Beyond the observed values the data do not say how it bends, and its inverse would grow like an
exponential, and means with it. There it continues as a straight line.

References:
    I.-K. Yeo, R. A. Johnson, "A new family of power transformations to improve normality or
    symmetry", Biometrika 87, 2000, eq. 2.1.
"""

import itertools
from typing import Any, NamedTuple

import numpy as np
from scipy import optimize, stats

LEAST, MOST = 0.001, 1.999
"""Powers; 0 and 2, whose transforms are logarithms, are their limits."""

ORIGINS, UNITS = (0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98), (0.1, 0.25, 0.6, 1.5)
"""Quantiles, and units in standard deviations, that are tried. In a smaller unit the values nearest
to the origin would be told apart for ever, and the likelihood would have no bound."""

LEAST_GAIN = float(stats.chi2.ppf(0.999, 2)) / 2.0
"""Nats that two parameters of nothing seldom gain."""

MAX_VALUES = 2000
"""Most values that these are tried on, evenly among all in order."""


class Bend(NamedTuple):
    """The map ``(psi(x) - centre) / spread`` of columns, of NumPy or JAX arrays.

    Attributes:
        power: p of each column. [D]
        centre: the mean of psi of each column; 0 of one with an atom, which stays at 0. [D]
        spread: its standard deviation, or its root mean square distance from the atom. [D]
        low: least value that was seen, below which psi is a straight line. [D]
        high: largest, as ``low``; both are 0 in columns that are straight throughout. [D]
        origin: o of each column. [D]
        unit: c of each column. [D]
    """

    power: Any
    centre: Any
    spread: Any
    low: Any
    high: Any
    origin: Any = 0.0
    unit: Any = 1.0

    @classmethod
    def fit(
        cls, x: np.ndarray, mask: np.ndarray, columns: np.ndarray, has_atom: np.ndarray
    ) -> "Bend":
        """Return the map under which some columns are nearest to normal; others stay as they are.

        One with an atom keeps its origin there.

        Args:
            x: values in standard units; 0 is the atom of a column that has one. [N, D]
            mask: ``True`` where the value is read: observed, and not at an atom. [N, D]
            columns: indices of those that are bent, if they have a shape: three values or more, and
                of unit size, which one that is constant up to rounding is not. [n]
            has_atom: which have an atom. [D]
        """
        num_columns = x.shape[1]
        power, centre, spread = np.ones(num_columns), np.zeros(num_columns), np.ones(num_columns)
        low, high = np.zeros(num_columns), np.zeros(num_columns)
        origin, unit = np.zeros(num_columns), np.ones(num_columns)
        for column in columns:
            values = x[mask[:, column], column]
            if len(np.unique(values)) < 3 or not np.isclose(np.mean(values**2), 1.0):
                continue
            if not has_atom[column]:
                origin[column], unit[column] = _fit_origin(values)
            told = (values - origin[column]) / unit[column]
            power[column] = _fit_power(told)
            bent = _psi(told, power[column])
            centre[column] = 0.0 if has_atom[column] else bent.mean()
            spread[column] = np.sqrt(np.mean((bent - centre[column]) ** 2))
            seen = np.append(values, 0.0) if has_atom[column] else values
            low[column], high[column] = seen.min(), seen.max()
        return cls(power, centre, spread, low, high, origin, unit)

    def apply(self, x: np.ndarray) -> np.ndarray:
        """Return values [..., D] bent."""
        u = (x - self.origin) / self.unit
        seen = np.clip(u, *self._seen())
        psi = _psi(seen, self.power) + np.exp(_log_slope(seen, self.power)) * (u - seen)
        return (psi - self.centre) / self.spread

    def invert(self, x: Any) -> Any:
        """Return the values that ``x`` [..., D] were before they were bent."""
        xp = x.__array_namespace__()  # of NumPy or of JAX
        psi = x * self.spread + self.centre
        low, high = self._seen()
        bent = xp.clip(psi, _psi(low, self.power), _psi(high, self.power))
        q = _exponent(bent, self.power)
        seen = xp.sign(bent) * xp.expm1(xp.log1p(q * xp.abs(bent)) / q)
        u = seen + (psi - bent) / xp.exp(_log_slope(seen, self.power))
        return u * self.unit + self.origin

    def log_derivative(self, x: np.ndarray) -> np.ndarray:
        """Return the logarithm of the derivative of ``apply`` at values [..., D]."""
        seen = np.clip((x - self.origin) / self.unit, *self._seen())
        return _log_slope(seen, self.power) - np.log(self.unit * self.spread)

    def _seen(self) -> tuple[Any, Any]:
        """Return ``low`` and ``high`` from the origin, in the unit."""
        return (self.low - self.origin) / self.unit, (self.high - self.origin) / self.unit


def _exponent(x: Any, power: Any) -> Any:
    xp = x.__array_namespace__()
    return xp.where(x < 0, 2.0 - power, power)


def _psi(x: Any, power: Any) -> Any:
    xp, q = x.__array_namespace__(), _exponent(x, power)
    return xp.sign(x) * xp.expm1(q * xp.log1p(xp.abs(x))) / q


def _log_slope(x: Any, power: Any) -> Any:
    xp = x.__array_namespace__()
    return (_exponent(x, power) - 1.0) * xp.log1p(xp.abs(x))


def _fit_origin(values: np.ndarray) -> tuple[float, float]:
    """Return origin and unit, 0 and 1 if no others gain more than ``LEAST_GAIN``.

    A value that comes often counts once: an origin there would gain by it alone.
    """
    values = np.unique(values)
    values = values[:: -(-len(values) // MAX_VALUES)]
    tried = [(0.0, 1.0), *itertools.product(np.quantile(values, ORIGINS), UNITS)]

    def gain(origin: float, unit: float) -> float:
        told = (values - origin) / unit
        log_p = stats.yeojohnson_llf(_fit_power(told), told) - len(told) * np.log(unit)
        return float(log_p) - LEAST_GAIN * ((origin, unit) != (0.0, 1.0))

    return max(tried, key=lambda one: gain(*one))


def _fit_power(values: np.ndarray) -> float:
    found = optimize.minimize_scalar(
        lambda power: -stats.yeojohnson_llf(power, values), bounds=(LEAST, MOST), method="bounded"
    )
    return round(float(found.x), 3)  # further digits differ between machines
