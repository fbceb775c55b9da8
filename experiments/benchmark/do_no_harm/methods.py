"""The methods: ours by its defaults, those of others, and what one could know at best."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from experiments.benchmark.do_no_harm import oracle, values
from experiments.benchmark.do_no_harm.designs import Example
from experiments.benchmark.do_no_harm.encoding import encode
from experiments.benchmark.imputation import peers
from mnar_ebm import MNARImputer, data

NUM_DRAWS = 20


class Completed(NamedTuple):
    """What a method makes of a table, in codes.

    Attributes:
        x: the completed table. [N, D]
        draws: multiple imputations, if the method has them. [N, M, D]
        mechanism: the one that was taken, of ours.
    """

    x: np.ndarray
    draws: np.ndarray | None = None
    mechanism: str | None = None


def run_imputer(example: Example, seed: int) -> Completed:
    """Return what ``MNARImputer`` makes of a data frame by its defaults."""
    table = example.values
    frame = values.to_frame(np.where(example.mask, table.x, np.nan), table.types)
    imputer = MNARImputer(random_state=seed).fit(frame)

    def codes(completed: object) -> np.ndarray:
        if isinstance(completed, np.ndarray):
            return completed
        return values.to_codes(completed, table.types)

    draws = np.stack([codes(one) for one in imputer.sample(frame, NUM_DRAWS)], axis=1)
    return Completed(codes(imputer.transform(frame)), draws, imputer.report_.mechanism)


def run_oracle(example: Example, seed: int) -> Completed:
    """Return expectations and draws by the true law, of which rows must be normal."""
    assert example.law is not None and example.values.is_gaussian
    rng = np.random.default_rng(seed)
    x, draws = oracle.complete(rng, example.values.x, example.mask, example.law, NUM_DRAWS)
    return Completed(x, draws)


def _point(
    function: Callable[[data.Table, int], np.ndarray],
) -> Callable[[Example, int], Completed]:
    def run(example: Example, seed: int) -> Completed:
        encoded = encode(example)
        return Completed(encoded.decode(function(encoded.table, seed)))

    return run


def _run_mice(example: Example, seed: int) -> Completed:
    encoded = encode(example)
    draws = peers.mice_draws(encoded.table, seed, NUM_DRAWS)
    return Completed(encoded.decode(peers.mice(encoded.table, seed)), encoded.decode(draws))


def _run_miceforest(example: Example, seed: int) -> Completed:
    encoded = encode(example)
    draws = peers.miceforest(encoded.table, seed, NUM_DRAWS)
    return Completed(encoded.decode(draws.mean(axis=1)), encoded.decode(draws))


METHODS: dict[str, Callable[[Example, int], Completed]] = {
    "mean": _point(peers.mean),
    "mice": _run_mice,
    "missforest": _point(peers.missforest),
    "miceforest": _run_miceforest,
    "oracle": run_oracle,
    "imputer": run_imputer,
}
"""By name, in the order in which they are run: ``(example, seed) -> Completed``."""


def installed() -> list[str]:
    """Return the methods whose packages are there."""
    return [name for name in METHODS if peers.is_installed(name)]


def applies(name: str, example: Example) -> bool:
    """Return whether a method has an answer: the oracle must know the law of rows and gaps."""
    return name != "oracle" or (example.law is not None and example.values.is_gaussian)
