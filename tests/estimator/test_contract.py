"""scikit-learn's contract, checked by scikit-learn, with one candidate to save compilation."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from mnar_ebm import MNARImputer

pytestmark = pytest.mark.usefixtures("quick_compile_all")  # a table or two of its own width each


@parametrize_with_checks([MNARImputer(mechanism="mcar", max_iter=2, num_models=2, random_state=0)])
def test_scikit_learn_agrees(estimator, check):
    check(estimator)
