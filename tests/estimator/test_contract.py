"""scikit-learn's contract, checked by scikit-learn, with one candidate to save compilation."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mnar_ebm import MNARImputer

pytestmark = pytest.mark.usefixtures("quick_compile_all")  # a table or two of its own width each


QUICK = {"max_iter": 2, "num_models": 2, "num_samples": 50}


@parametrize_with_checks([MNARImputer(mechanism="mcar", random_state=0, **QUICK)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)
