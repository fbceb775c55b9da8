"""Several fits as one: their mean, their draws, their mixture."""

import functools

import numpy as np
import pytest
from scipy.special import logsumexp

from mnar_ebm import MNARImputer
from mnar_ebm.estimator import selection
from mnar_ebm.estimator.ensemble import Ensemble
from mnar_ebm.training import NonFiniteLossError

pytestmark = pytest.mark.usefixtures("quick_compile_all")


@functools.cache
def rows():
    """Return rows of two columns that go together, with gaps at random. [N, 2]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(120, 1)) + 0.5 * rng.normal(size=(120, 2))
    x[rng.random(x.shape) < 0.3] = np.nan
    return x


@functools.cache
def fit(num_models):
    """Return an imputer of so many fits, each after a few steps."""
    return MNARImputer(
        mechanism="mcar", max_iter=20, num_models=num_models, num_samples=200, random_state=0
    ).fit(rows())


def test_columns_are_bent_where_no_hidden_value_is_read():
    """By default, under gaps at random."""
    assert all(one.facts.standardiser.bend is not None for one in fit(3).ensemble_.models)


def test_fits_are_averaged():
    """Means over fits, draws in turn, the bound of their mixture."""
    models, x = fit(3).ensemble_.models, rows()[:20]
    ensemble, missing = Ensemble(models, seed=7), np.isnan(x)
    alone = [
        model.impute(x, num_imputations=2, seed=7 + index) for index, model in enumerate(models)
    ]
    means = np.stack([one.mean for one in alone])
    np.testing.assert_allclose(ensemble.mean(x)[missing], means.mean(axis=0)[missing])
    assert (means.std(axis=0)[missing] > 0).all()  # the fits differ
    assert (ensemble.mean(x)[~missing] == x[~missing]).all()
    draws = ensemble.draws(x, 4)
    for draw, model in enumerate((0, 1, 2, 0)):
        assert (draws[:, draw] == alone[model].draws[:, draw // 3]).all()
    standardise = models[0].facts.standardiser.apply
    slope = (standardise(x + 1e-5) - standardise(x - 1e-5)) / 2e-5
    unit = np.where(missing, 0.0, np.log(slope)).sum(axis=1).mean()
    bounds = np.stack([one.bound for one in alone])
    mixture = logsumexp(bounds, axis=0, b=1 / 3).mean()
    np.testing.assert_allclose(ensemble.mean_bound(x), mixture + unit, rtol=1e-6)


def test_fewer_draws_than_fits_are_of_the_first_fits():
    """A single one is of the first, as if there were no other."""
    ensemble, x = fit(3).ensemble_, rows()[:20]
    first = Ensemble(ensemble.models[:1], ensemble.seed)
    assert (ensemble.draws(x, 1) == first.draws(x, 1)).all()
    assert (ensemble.draws(x, 2)[:, :1] == first.draws(x, 1)).all()


def test_the_first_fit_does_not_depend_on_how_many_there_are():
    """And the report, which is of it, tells of the others."""
    one, three = fit(1), fit(3)
    x = rows()[:5]
    first = (one.ensemble_.models[0], three.ensemble_.models[0])
    assert (first[0].impute(x).mean == first[1].impute(x).mean).all()
    means = {float(model.impute(x).mean[0, 1]) for model in three.ensemble_.models}
    assert len(means) == 3  # each has rows of its own
    assert "3 fits are averaged" in str(three.report_) and "averaged" not in str(one.report_)


def test_a_fit_without_a_finite_loss_is_left_out(monkeypatch):
    """And told of."""
    train, whole = selection.train_on_bootstrap, fit(3)

    def train_or_lose(fitted, table, seed, *args):
        if seed == fitted.config.seed + 1:
            raise NonFiniteLossError("the loss of stage base is nan")
        return train(fitted, table, seed, *args)

    monkeypatch.setattr(selection, "train_on_bootstrap", train_or_lose)
    imputer = MNARImputer(**whole.get_params()).fit(rows())
    assert len(imputer.ensemble_.models) == 2
    assert any("the loss of fit 2 became NaN" in line for line in imputer.report_.warnings)
