r"""Structural patterns of the gaps: what goes missing together, in order, or never side by side.

Of two columns j and k with g_j and g_k gaps in N rows that have a value, let n_jk count the rows
with a gap in j and a value in k. Were the gaps unrelated, e_jk = g_j (N - g_k) / N of them would be
expected. The columns are missing together, or j drops out before k, if

    n_jk + n_kj <= (e_jk + e_kj) / 10    (Cohen's kappa at least 0.9)
    n_jk        <= e_jk / 10             (Loevinger's H at least 0.9)

and if as many joint gaps are no chance: the probability of m of n draws without replacement, each a
hit with probability p, is at most exp(-n KL(m / n || p)).

References:
    J. Cohen, "A Coefficient of Agreement for Nominal Scales", 1960 (kappa).
    J. Loevinger, "The Technic of Homogeneous Tests Compared with Some Aspects of 'Scale Analysis'
    and Factor Analysis", 1948 (H).
    W. Hoeffding, "Probability Inequalities for Sums of Bounded Random Variables", 1963 (Theorem 1
    and Section 6).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Tuning(NamedTuple):
    """What counts as a pattern.

    Attributes:
        min_gaps: gaps of a column that is read, and that a step of a drop-out adds.
        min_steps: steps of a drop-out, at least.
        max_of_expected: most of n over e.
        max_exceptions: share of rows that may not keep the order of a drop-out.
        max_chance: of a false pattern, all pairs of columns together.
        max_in_words: most patterns of a kind that are told.
    """

    min_gaps: int = 5
    min_steps: int = 3
    max_of_expected: float = 0.1
    max_exceptions: float = 0.01
    max_chance: float = 0.001
    max_in_words: int = 5


TUNING = Tuning()


class Together(NamedTuple):
    """Columns that are missing together.

    Attributes:
        names: of the columns.
        share: of all rows, those where all of them are missing.
        is_exact: whether a row that has a value lacks all of them or none.
    """

    names: tuple[str, ...]
    share: float
    is_exact: bool


class Patterns(NamedTuple):
    """Structural patterns of the gaps.

    Attributes:
        together: sets of columns that are missing together, the largest first.
        drop_out: columns such that a gap is followed by gaps in all later ones; the longest such
            order if it has three steps, else none. Columns whose gaps are the same are one step.
        num_exceptions: rows that do not keep this order.
        num_empty_rows: rows with no value.
        are_empty_by_chance: whether unrelated gaps would leave about as many rows empty.
        never_together: pairs of columns that have values, but never in the same row.
    """

    together: tuple[Together, ...]
    drop_out: tuple[str, ...]
    num_exceptions: int
    num_empty_rows: int
    are_empty_by_chance: bool
    never_together: tuple[tuple[str, str], ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, one sentence each; none if there is no pattern."""
        said = []
        for names, share, is_exact in self.together[: TUNING.max_in_words]:
            why = "a section had not been asked or a merge had failed"
            said.append(
                f"{_list(names, 'columns', ' and ')} are {'' if is_exact else 'nearly always '}"
                f"missing together, in {100 * share:.3g}% of the rows, as if "
                f"{why if is_exact else 'their gaps had one reason'}"
            )
        if len(self.together) > TUNING.max_in_words:
            more = len(self.together) - TUNING.max_in_words
            said.append(f"so are the columns of {more} more set{'s' * (more > 1)}")
        if self.drop_out:
            apart = f" ({_rows(self.num_exceptions)} apart)" if self.num_exceptions else ""
            said.append(
                f"{_list(self.drop_out, 'columns')} drop out in this order: a gap is followed by "
                f"gaps in all later ones{apart}"
            )
        if self.num_empty_rows and not self.are_empty_by_chance:
            is_one = self.num_empty_rows == 1
            tell = "has no value: it tells" if is_one else "have no value: they tell"
            said.append(f"{_rows(self.num_empty_rows)} {tell} only that all is missing")
        if self.never_together:
            link = " and " if len(self.never_together) == 1 else " with "
            said.append(
                f"{_list([link.join(pair) for pair in self.never_together], 'pairs')} are never "
                "observed in the same row: no row tells how they go together, so what is imputed "
                "rests on the other columns and on the model alone"
            )
        return tuple(said)


def find_patterns(names: Sequence[str], mask: np.ndarray) -> Patterns:
    """Return the structural patterns of the gaps of a table.

    Rows with no value are counted, and not read further. Of a table with gaps completely at random
    nothing is said, unless it is so small that two columns are never observed in the same row.

    Args:
        names: of the D columns.
        mask: True where observed, one column for each of the table. [N, D]

    Raises:
        ValueError: the mask does not have a column for each name.

    Examples:
        >>> mask = np.ones((100, 3), bool)
        >>> mask[:20, :2] = False
        >>> print(*find_patterns(["a", "b", "c"], mask).sentences)
        a and b are missing together, in 20% of the rows, as if a section had not been asked or a \
merge had failed
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2 or mask.shape[1] != len(names):
        raise ValueError(f"mask: expected shape [N, {len(names)}], got {mask.shape}")
    label = np.array(names, object)
    gaps = ~mask[mask.any(axis=1)]
    num_rows, num_empty = len(gaps), len(mask) - len(gaps)
    as_float: np.ndarray = gaps.astype(np.float32 if num_rows < 2**24 else np.float64)
    joint = np.rint(as_float.T @ as_float).astype(int)
    counts = np.diag(joint)
    values = num_rows - counts
    never = (values[:, None] + values + joint == num_rows) & (values[:, None] > 0) & (values > 0)
    told = np.flatnonzero((counts >= TUNING.min_gaps) & (values > 0))
    chain, link = _relate(gaps[:, told], joint[np.ix_(told, told)])
    groups = []
    for members in (told[group] for group in _components(link)):
        own = gaps[:, members]
        share = (num_empty + int(own.all(axis=1).sum())) / len(mask)
        groups.append(Together(tuple(label[members]), share, bool((own == own[:, :1]).all())))
    rates = np.sort(1 - values / max(len(mask), 1))
    evidence = _evidence(num_empty, round(rates[:1].sum() * len(mask)), np.prod(rates[1:]))
    return Patterns(
        together=tuple(sorted(groups, key=lambda group: -len(group.names))),
        drop_out=tuple(label[told[chain]]),
        num_exceptions=_num_exceptions(gaps[:, told[chain]]),
        num_empty_rows=num_empty,
        are_empty_by_chance=num_rows > 0 and bool(evidence < -np.log(TUNING.max_chance)),
        never_together=tuple((names[j], names[k]) for j, k in np.argwhere(np.triu(never, 1))),
    )


def _relate(gaps: np.ndarray, joint: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the columns of the drop-out in order, and which are missing together. [n], [d, d]."""
    num_rows, num_columns = gaps.shape
    if num_columns < 2:
        return np.zeros(0, int), np.eye(num_columns, dtype=bool)
    counts = np.diag(joint)
    broken = counts[:, None] - joint
    expected = np.outer(counts, num_rows - counts) / num_rows
    evidence = _evidence(joint, counts[:, None], counts / num_rows)
    least = np.log(num_columns * (num_columns - 1) / 2 / TUNING.max_chance)
    is_told = np.maximum(evidence, evidence.T) >= least
    apart = broken + broken.T
    link = is_told & (apart <= TUNING.max_of_expected * (expected + expected.T))
    grows = broken.T >= np.maximum(TUNING.min_gaps, broken / TUNING.max_of_expected)
    follows = is_told & (broken <= TUNING.max_of_expected * expected) & grows
    allowed = int(TUNING.max_exceptions * num_rows)
    for most in (allowed, 0):
        steps = _longest(follows & (broken <= most), counts)
        chain = np.concatenate([np.flatnonzero(apart[step] == 0) for step in steps])
        if len(steps) >= TUNING.min_steps and _num_exceptions(gaps[:, chain]) <= allowed:
            # The steps of a drop-out may be small: a column is together with the nearest alone.
            near = np.where(link[:, steps], apart[:, steps], num_rows + 1)
            nearest = np.where(link[:, steps].any(axis=1), near.argmin(axis=1), -1)
            nearest[steps] = np.arange(len(steps))
            return chain, link & (nearest[:, None] == nearest)
    return np.zeros(0, int), link


def _longest(follows: np.ndarray, counts: np.ndarray) -> list[int]:
    """Return the longest path; a column that follows another has more gaps. [d, d], [d]."""
    length, before = np.ones(len(counts), int), np.full(len(counts), -1)
    for column in np.argsort(counts, kind="stable"):
        lengths = np.where(follows[:, column], length, 0)
        if lengths.any():
            before[column] = lengths.argmax()
            length[column] = 1 + lengths.max()
    path = [int(length.argmax())]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return path[::-1]


def _components(link: np.ndarray) -> list[np.ndarray]:
    """Return the sets of two or more columns that links connect. [d, d]."""
    label, last = np.arange(len(link)), None
    link = link | np.eye(len(link), dtype=bool)
    while last is None or (label != last).any():
        last, label = label, np.where(link, label, len(link)).min(axis=1, initial=len(link))
    sets = [np.flatnonzero(label == first) for first in np.unique(label)]
    return [members for members in sets if len(members) > 1]


def _num_exceptions(gaps: np.ndarray) -> int:
    """Return the number of rows with a value after a gap. [N, n]."""
    return int((gaps[:, :-1] & ~gaps[:, 1:]).any(axis=1).sum())


def _evidence(hits: ArrayLike, draws: ArrayLike, rate: ArrayLike) -> np.ndarray:
    """Return n KL(m / n || p) where m / n is above p, else 0."""
    hits, draws, rate = (np.asarray(one, float) for one in (hits, draws, rate))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = hits / draws
        inside = np.where(hits > 0, share * np.log(share / rate), 0.0)
        outside = np.where(hits < draws, (1 - share) * np.log((1 - share) / (1 - rate)), 0.0)
        return np.where(share > rate, draws * (inside + outside), 0.0)


def _rows(number: int) -> str:
    return f"{number} row{'s' * (number != 1)}"


def _list(items: Sequence[str], noun: str, last: str = ", ") -> str:
    more = len(items) - TUNING.max_in_words
    if more > 0:
        noun = noun if more > 1 else noun[:-1]
        return f"{', '.join(items[: TUNING.max_in_words])} and {more} more {noun}"
    return last.join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)
