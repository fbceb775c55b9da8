r"""Several fits of one kind of model, as one: what each says of a row counts alike.

    mean    (1/M) sum_m E_m[x_mis|x_obs, s]
    draws   the k-th is of fit k mod M
    bound   log (1/M) sum_m exp(bound_m), of the mixture of the fits

Fits differ in their seed: in where they start, in the rows held out of them, and in the order of
the others. Their mean has a smaller error than any, for what each takes from its own accidents
averages out; and draws of several say how far a fit can be relied on, of which the draws of one
know nothing.

References:
    L. Breiman, "Bagging predictors", Machine Learning 24, 1996.
    B. Lakshminarayanan, A. Pritzel, C. Blundell, "Simple and Scalable Predictive Uncertainty
    Estimation using Deep Ensembles", NeurIPS 2017, sec. 2.4.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from mnar_ebm.imputation import Imputation
from mnar_ebm.training import FittedModel


class Ensemble(NamedTuple):
    """M fits, and how they are asked.

    Attributes:
        models: the fits, of the same columns in the same units. [M]
        seed: of their draws.
    """

    models: tuple[FittedModel, ...]
    seed: int

    def impute(self, x: np.ndarray, num_imputations: int = 0) -> Imputation:
        """Impute rows in their original units, as ``FittedModel.impute`` does by one fit.

        Args:
            x: rows with NaN in missing cells. [N, D]
            num_imputations: draws of each row, beside its mean.

        Returns:
            The imputation; its effective number of draws is summed over the fits.

        Raises:
            TypeError, ValueError: as ``FittedModel.impute``.
        """
        of_each = -(-num_imputations // len(self.models))
        answers = [
            model.impute(x, num_imputations=of_each, seed=self.seed + index)
            for index, model in enumerate(self.models)
        ]
        mean = np.mean([answer.mean for answer in answers], axis=0)
        draws = np.stack([answer.draws for answer in answers], axis=2)  # [N, of_each, M, D]
        bounds = np.stack([answer.bound for answer in answers])
        return Imputation(
            mean=np.where(np.isnan(x), mean, x),
            draws=draws.reshape(len(x), of_each * len(answers), x.shape[1])[:, :num_imputations],
            bound=logsumexp(bounds, axis=0) - np.log(len(answers)),
            ess=np.sum([answer.ess for answer in answers], axis=0),
        )

    def mean_bound(self, x: np.ndarray) -> float:
        """Return the mean bound of rows, of values in their original units, in nats. [N, D]."""
        facts = self.models[0].facts
        # dx = scale d(standard x) turns a density of standard values into one of values.
        is_density = ~np.isnan(x) & ~facts.is_atom(x)
        log_scale = np.where(is_density, np.log(facts.standardiser.scale), 0.0)
        return float(np.mean(self.impute(x).bound - log_scale.sum(axis=1)))
