"""Measures of samples and of decisions: closed forms, and what they are for samples of one law."""

import numpy as np
import pytest

from mnar_ebm import metrics


def test_the_kernel_distance_is_unbiased_and_grows():
    """Mean 0 over pairs of samples of one law within four errors, and its closed form beyond.

    In one dimension with k = (xy + 1)³ it is 9 (m_1 - n_1)² + ... : of moments up to the third.
    """
    rng = np.random.default_rng(0)
    same = [metrics.kernel_distance(*rng.normal(size=(2, 40, 3))) for _ in range(300)]
    assert abs(np.mean(same)) < 4 * np.std(same) / len(same) ** 0.5
    x, y = rng.normal(size=(4000, 1)), 0.5 + rng.normal(size=(4000, 1))
    first, second = np.array([0.0, 1.0, 0.0]), np.array([0.5, 1.25, 0.5**3 + 3 * 0.5])
    exact = ((first - second) ** 2 * [3, 3, 1]).sum()
    assert abs(metrics.kernel_distance(x, y) - exact) < 0.1 * exact


def test_neighbourhoods_see_what_is_left_out():
    """Two clusters, of which the model has one: it is precise, and covers half."""
    rng = np.random.default_rng(0)
    data = rng.normal(size=(400, 2)) + np.repeat([[0.0, 0.0], [30.0, 0.0]], 200, axis=0)
    both = rng.normal(size=(400, 2)) + np.repeat([[0.0, 0.0], [30.0, 0.0]], 200, axis=0)
    one, far = rng.normal(size=(400, 2)), 500.0 + rng.normal(size=(400, 2))
    same = metrics.neighbourhoods(data, both)
    assert same.precision > 0.9 and same.recall > 0.9 and same.coverage > 0.9
    assert abs(same.density - 1.0) < 0.15
    half = metrics.neighbourhoods(data, one)
    assert half.precision > 0.9 and abs(half.coverage - 0.5) < 0.03 and half.recall < 0.55
    assert metrics.neighbourhoods(data, far) == (0.0, 0.0, 0.0, 0.0)


def test_detection_has_its_closed_forms():
    """Scores N(1, 1) and N(0, 1): AUROC is Φ(1/√2); one score above all others is found at once."""
    rng = np.random.default_rng(0)
    found = metrics.detection(1 + rng.normal(size=20_000), rng.normal(size=20_000))
    assert abs(found.auroc - 0.76025) < 0.01
    assert abs(found.fpr95 - 0.7405) < 0.02  # 1 - Φ(1 - 1.645)
    assert metrics.detection(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == (1.0, 1.0, 0.0)
    assert metrics.detection(np.array([0.0, 1.0]), np.array([2.0, 3.0])).auroc == 0.0


def test_the_error_of_calibration_is_that_of_the_bins():
    """By hand; a calibrated classifier has about 0."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    found = metrics.calibration_error(probabilities, np.array([0, 1, 1, 1]), num_bins=10)
    np.testing.assert_allclose(found, 0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6))
    rng = np.random.default_rng(0)
    p = rng.uniform(size=50_000)
    labels = (rng.uniform(size=p.size) > p).astype(int)
    assert metrics.calibration_error(np.stack([p, 1 - p], axis=1), labels) < 0.015


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: metrics.kernel_distance(np.zeros((3, 2)), np.zeros((3, 1))), r"\[N, F\] and"),
        (lambda: metrics.neighbourhoods(np.zeros((5, 2)), np.zeros((9, 2))), "at least 6, got 5"),
        (lambda: metrics.detection(np.zeros(0), np.zeros(3)), "inside: expected finite scores"),
        (lambda: metrics.calibration_error(np.ones((2, 2)), np.zeros(2)), "with sum 1"),
        (lambda: metrics.calibration_error(np.ones((2, 2)), np.zeros(3)), "expected shapes"),
    ],
)
def test_wrong_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
