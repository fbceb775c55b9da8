"""What others offer for the same tables, and how far any imputation could come.

Every function takes a table in standard units and a seed and returns the table completed, the
observed cells as they came, [N, D], or several such tables.
"""

import importlib.util
import warnings

import numpy as np

from mnar_ebm import Config, data

_PACKAGES = {
    "miceforest": ("miceforest",),
    "notmiwae_pytorch": ("notmiwae_pytorch", "torch", "tensorboard"),
}

_NUM_IMPUTE_ROWS = 16


def is_installed(name: str) -> bool:
    """Return whether all packages that a method needs are there."""
    return all(importlib.util.find_spec(package) for package in _PACKAGES.get(name, ()))


def mean(table: data.Table, seed: int) -> np.ndarray:
    """Return the observed mean of each column in its gaps."""
    del seed
    return np.where(table.mask, table.x, np.nanmean(table.x, axis=0))


def mice(table: data.Table, seed: int) -> np.ndarray:
    """Return scikit-learn's IterativeImputer with Bayesian ridge regression.

    References:
        S. van Buuren, K. Groothuis-Oudshoorn, "mice: Multivariate Imputation by Chained
        Equations in R", Journal of Statistical Software 45, 2011.
    """
    from sklearn.linear_model import BayesianRidge

    return _iterate(table, seed, BayesianRidge())


def mice_draws(table: data.Table, seed: int, num_imputations: int) -> np.ndarray:
    """Return draws by the same regressions, each from chains of its own. [N, M, D]."""
    from sklearn.linear_model import BayesianRidge

    seeds = np.random.SeedSequence(seed).generate_state(num_imputations)
    draws = [_iterate(table, int(one), BayesianRidge(), sample_posterior=True) for one in seeds]
    return np.stack(draws, axis=1)


def missforest(table: data.Table, seed: int) -> np.ndarray:
    """Return scikit-learn's IterativeImputer with 100 extremely randomised trees.

    The paper's row is of random forests, which take several times as long.

    References:
        D. J. Stekhoven, P. Bühlmann, "MissForest", Bioinformatics 28, 2012.
    """
    from sklearn.ensemble import ExtraTreesRegressor

    return _iterate(table, seed, ExtraTreesRegressor(100, random_state=seed))


def _iterate(
    table: data.Table, seed: int, estimator: object, sample_posterior: bool = False
) -> np.ndarray:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        imputer = IterativeImputer(
            estimator,
            max_iter=10,
            random_state=seed,
            keep_empty_features=True,
            sample_posterior=sample_posterior,
        )
        return np.where(table.mask, table.x, imputer.fit_transform(table.x))


def limit(table: data.Table, seed: int) -> np.ndarray:
    """Return regressions that were shown the true values: what any imputation could come near to.

    The missing cells of a column are predicted, in five folds, by trees that learned on the *true*
    values of the other rows' missing cells, from the other columns with zeros in their gaps and
    from the mask: an estimate of E[x_d | x_obs, s]. No method can be expected below it by more
    than what these trees lack, for none is shown the truth.
    """
    from sklearn.ensemble import ExtraTreesRegressor
    from sklearn.model_selection import KFold

    assert table.truth is not None
    shown = np.concatenate([np.where(table.mask, table.x, 0.0), table.mask], axis=1)
    completed = np.array(table.x)
    for column in np.flatnonzero(~table.mask.all(axis=0)):
        rows = np.flatnonzero(~table.mask[:, column])
        if len(rows) < 2:
            completed[rows, column] = np.nanmean(table.x[:, column])
            continue
        folds = KFold(min(5, len(rows)), shuffle=True, random_state=seed)
        for learn, predict in folds.split(rows):
            trees = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=seed)
            trees.fit(shown[rows[learn]], table.truth[rows[learn], column])
            completed[rows[predict], column] = trees.predict(shown[rows[predict]])
    return completed


def miceforest(table: data.Table, seed: int, num_imputations: int) -> np.ndarray:
    """Return miceforest's imputations: chained LightGBM with mean matching. [N, M, D].

    Raises:
        ValueError: it is not installed.
    """
    if not is_installed("miceforest"):
        raise ValueError(
            'miceforest: expected the package, got none; pip install "mnar-ebm[peers]"'
        )
    import miceforest
    import pandas as pd

    frame = pd.DataFrame(table.x, columns=[f"x{index}" for index in range(table.x.shape[1])])
    kernel = miceforest.ImputationKernel(frame, num_datasets=num_imputations, random_state=seed)
    kernel.mice(iterations=5, verbose=False)
    draws = [kernel.complete_data(dataset=index).to_numpy() for index in range(num_imputations)]
    return np.where(table.mask[:, None], table.x[:, None], np.stack(draws, axis=1))


def notmiwae_pytorch(table: data.Table, seed: int, config: Config) -> np.ndarray:
    """Return the imputation of notmiwae-pytorch with known signs, trained as ``config`` says.

    Raises:
        ValueError: it is not installed.
    """
    import torch

    trainer = NotMIWAETrainer(table, seed, config)
    trainer.take_steps(config.optimisation.num_steps)
    with torch.no_grad():
        return trainer.impute(config.num_imputation_samples)


class NotMIWAETrainer:
    """notmiwae-pytorch's model on tensors in memory, on one thread, with Adam at a constant rate.

    On cores that do other work, two threads spend their time waiting for each other.
    """

    def __init__(self, table: data.Table, seed: int, config: Config):
        """Make the model for a table."""
        if not is_installed("notmiwae_pytorch"):
            raise ValueError(
                "notmiwae_pytorch: expected the packages notmiwae-pytorch, torch and tensorboard, "
                "got not all; pip install notmiwae-pytorch tensorboard"
            )
        import torch
        from notmiwae_pytorch import NotMIWAE

        self._table, self._batch_size = table, min(config.optimisation.batch_size, len(table.x))
        self._x = torch.from_numpy(np.where(table.mask, table.x, 0.0).astype(np.float32))
        self._mask = torch.from_numpy(table.mask.astype(np.float32))
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        num_columns = table.x.shape[1]
        self._model = NotMIWAE(
            num_columns,
            latent_dim=config.model.latent_dim,
            hidden_dim=config.model.hidden_dim,
            n_samples=config.optimisation.num_importance_samples,
            out_dist="gauss",
            missing_process="selfmasking_known_signs",
            signs=torch.ones(num_columns),
        )
        self._optimiser = torch.optim.Adam(
            self._model.parameters(), lr=config.optimisation.learning_rate
        )
        self._order, self._position = torch.randperm(len(table.x)), 0

    def take_steps(self, num_steps: int) -> None:
        """Take steps of Adam."""
        import torch

        self._model.train()
        for _ in range(num_steps):
            if self._position + self._batch_size > len(self._order):
                self._order, self._position = torch.randperm(len(self._order)), 0
            rows = self._order[self._position : self._position + self._batch_size]
            self._position += self._batch_size
            self._optimiser.zero_grad()
            self._model(self._x[rows], self._mask[rows])["loss"].backward()
            self._optimiser.step()

    def impute(self, num_samples: int) -> np.ndarray:
        """Return the completed table. [N, D]."""
        blocks = [
            self._model.impute(x, mask, n_samples=num_samples).numpy()
            for x, mask in zip(
                self._x.split(_NUM_IMPUTE_ROWS), self._mask.split(_NUM_IMPUTE_ROWS), strict=True
            )
        ]
        return np.where(self._table.mask, self._table.x, np.concatenate(blocks))
