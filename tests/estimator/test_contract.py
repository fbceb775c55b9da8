"""scikit-learn's contract, checked by scikit-learn, with one candidate to save compilation."""

import jax
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mnar_ebm import MNARImputer


@pytest.fixture(scope="module", autouse=True)
def quick_checks():
    """Compile fast rather than well: each check fits a table or two of its own width."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@parametrize_with_checks([MNARImputer(mechanism="mcar", max_iter=2, random_state=0)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)
