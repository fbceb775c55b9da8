"""What else one can do with a few unbiased rows: fine-tune, train on them alone, reweight."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegressionCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mnar_ebm
from mnar_ebm import Config, data, tilted
from mnar_ebm.data import Table
from mnar_ebm.tilted import FittedModel
from mnar_ebm.tilted.held_out import split_rows
from mnar_ebm.tilted.stages import make_loop, make_stages
from mnar_ebm.training import loop
from mnar_ebm.training.plan import pad_rows
from mnar_ebm.types import Batch

FINE_TUNING_RATE = 3e-4
FINE_TUNING_STEPS = 2000


def few_only(config: Config, unbiased: Table) -> FittedModel:
    """Return a base fitted to the unbiased rows alone; the early stopping holds a fifth out."""
    config = config.replace(
        tilt="none", mechanism="none", slope_start="flat", validation_fraction=0.2
    )
    return mnar_ebm.train(config, unbiased)[0]


def fine_tune(fitted: FittedModel, unbiased: Table) -> FittedModel:
    """Return the base trained on with the unbiased rows, at a low rate, without a mechanism.

    A fifth of the rows is held out, and the step with their highest bound is kept, so that it can
    stay as it was.
    """
    fitted = fitted.base()
    config = fitted.config.replace(
        mechanism="none",
        slope_start="flat",
        learning_rate=FINE_TUNING_RATE,
        num_steps=FINE_TUNING_STEPS,
        validation_fraction=0.2,
    )
    ignoring = tilted.restore(config, fitted.facts, fitted.params._replace(mechanism={}))
    (stage,) = make_stages(config, ignoring.model)
    x, mask = fitted.standardise(unbiased.x)
    rows, held_out = (
        pad_rows(Batch(jnp.asarray(x[part]), jnp.asarray(mask[part])))
        for part in split_rows(config, len(unbiased.x))
    )
    key = jax.random.key(config.seed)
    *_, last = loop.run_stages(
        make_loop(config), [stage], ignoring.params, rows, held_out, [(key, key)]
    )
    return fitted._replace(params=fitted.params._replace(base=last.params.base))


def reweight(table: Table, unbiased: Table, completed: np.ndarray, seed: int) -> Table:
    r"""Return rows of the table, drawn by how much likelier they are in the unbiased sample (LFIW).

        w(x) = p(unbiased|x) / p(selected|x) \\cdot n_selected / n_unbiased

    by a logistic regression on columns and their squares, its penalty cross-validated.

    Args:
        table: the selected rows.
        unbiased: the unbiased rows, complete.
        completed: the selected rows with their gaps filled, for the classifier to read. [N, D]
        seed: of the draws.

    References:
        A. Grover, J. Song, A. Agarwal, K. Tran, A. Kapoor, E. Horvitz, S. Ermon, "Bias Correction
        of Learned Generative Models using Likelihood-Free Importance Weighting", NeurIPS 2019,
        https://arxiv.org/abs/1906.09531, eq. 5.
    """
    x = np.concatenate([completed, unbiased.x])
    is_unbiased = np.arange(len(x)) >= len(completed)
    features = np.concatenate([x, (x - x.mean(axis=0)) ** 2], axis=1)
    classifier = make_pipeline(
        StandardScaler(),
        LogisticRegressionCV(Cs=7, scoring="neg_log_loss", max_iter=1000),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of scikit-learn, on defaults to come
        classifier.fit(features, is_unbiased)
    log_w = classifier.decision_function(features[: len(completed)])
    weights = np.exp(log_w - log_w.max())
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.choice(len(completed), len(completed), p=weights / weights.sum()))
    truth = None if table.truth is None else table.truth[rows]
    return data.make_table(table.name, table.columns, table.x[rows], truth, table.blocks)
