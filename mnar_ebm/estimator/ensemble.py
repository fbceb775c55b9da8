r"""Several fits of one kind of model, as one.

    mean    (1/M) sum_m E_m[x_mis|x_obs, s]
    draws   the k-th is of fit k mod M
    bound   log (1/M) sum_m exp(bound_m), of the mixture of the fits

Fits differ in their seed: in where they start, in the rows held out of them, and in the order of
the others. With \hat x_m the mean of fit m and \bar x that of all, in every cell

    (\bar x - x)² = (1/M) sum_m (\hat x_m - x)² - (1/M) sum_m (\hat x_m - \bar x)²

so that the error of their mean is below the average of theirs by what they differ. Draws of several
fits show that difference too. It is that of trainings of the same rows: that other rows might have
come is told by fits to bootstrap samples alone.

In mean and draws all fits count alike; in their mixture those count more, for a row, that give it
the higher density.

References:
    A. Krogh, J. Vedelsby, "Neural Network Ensembles, Cross Validation, and Active Learning",
    NIPS 1994, eq. 6.
    B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles", NeurIPS 2017, sec. 2.4.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from mnar_ebm.inference.imputation import Imputation
from mnar_ebm.tilted import FittedModel


class Ensemble(NamedTuple):
    """M fits, and how they are asked. Errors are those of ``FittedModel.impute``.

    Attributes:
        models: the fits, of the same columns in the same units. [M]
        seed: of their draws; each fit has one of its own, by its place.
    """

    models: tuple[FittedModel, ...]
    seed: int

    def mean(self, x: np.ndarray) -> np.ndarray:
        """Return rows with the mean of all fits in their gaps, where they are NaN. [N, D]."""
        means = [answer.mean for answer in self._ask(self.models, x)]
        return np.where(np.isnan(x), np.mean(means, axis=0), x)

    def draws(self, x: np.ndarray, num_imputations: int) -> np.ndarray:
        """Return completed rows, each draw of one fit for all of them. [N, num_imputations, D].

        Fewer draws than fits are of the first fits.
        """
        return self.weighted_draws(x, num_imputations)[0]

    def weighted_draws(self, x: np.ndarray, num_imputations: int) -> tuple[np.ndarray, np.ndarray]:
        """Return what ``draws`` does, and the effective number of draws behind each row. [M, N]."""
        models = self.models[:num_imputations]
        of_each = -(-num_imputations // len(models))
        answers = self._ask(models, x, of_each)
        in_turn = np.stack([answer.draws for answer in answers], axis=2)  # [N, of_each, M, D]
        draws = in_turn.reshape(len(x), -1, x.shape[1])[:, :num_imputations]
        return draws, np.stack([answer.ess for answer in answers])

    def mean_bound(self, x: np.ndarray) -> float:
        """Return the mean bound of rows, of values in their original units, in nats. [N, D]."""
        bounds = [answer.bound for answer in self._ask(self.models, x)]
        bound = logsumexp(bounds, axis=0) - np.log(len(bounds))
        return float(np.mean(bound + self.models[0].facts.log_derivative(x)))

    def _ask(
        self, models: Sequence[FittedModel], x: np.ndarray, num_imputations: int = 0
    ) -> list[Imputation]:
        return [
            model.impute(x, num_imputations=num_imputations, seed=self.seed + index, is_most=True)
            for index, model in enumerate(models)
        ]
