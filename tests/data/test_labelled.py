"""Images with their classes: parts that share no row, names of pixels, and what is refused."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from mnar_ebm.data.datasets import labelled


def test_digits_are_parted_by_class():
    """A fifth of each class for the test, and every image once."""
    train, test = labelled.load("digits")
    whole = load_digits()
    assert len(train.x) + len(test.x) == len(whole.data)
    both = np.concatenate([train.x, test.x])
    assert (np.sort(both.sum(axis=1)) == np.sort(whole.data.sum(axis=1))).all()
    shares = np.bincount(test.label) / np.bincount(whole.target)
    assert (abs(shares - 0.2) < 0.01).all()
    assert labelled.columns(64) == list(map(str, whole.feature_names))


def test_cifar10_is_read_from_its_arrays(tmp_path):
    """Pixels from 0 to 1, colours last."""
    (tmp_path / "cifar10").mkdir()
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    arrays = {"x_train": x, "y_train": np.arange(3), "x_test": x[:1], "y_test": np.arange(1)}
    np.savez(tmp_path / "cifar10" / labelled.CIFAR10, **arrays)
    train, test = labelled.load("cifar10", tmp_path)
    np.testing.assert_allclose(train.x[1].reshape(32, 32, 3) * 255, x[1])
    assert train.label.tolist() == [0, 1, 2] and len(test.x) == 1
    assert labelled.columns(3072)[:4] == ["pixel_0_0_red", "pixel_0_0_green", "pixel_0_0_blue",
                                          "pixel_0_1_red"]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data_dir", "message"),
    [
        ("wine", None, "dataset: expected one of digits, mnist"),
        ("mnist", None, "mnist: expected a folder of source files, got none"),
        ("cifar10", "nowhere", "cifar10: expected the file .*cifar10_11k.npz, got none"),
    ],
)
def test_what_is_not_there_is_refused(name, data_dir, message):
    with pytest.raises(ValueError, match=message):
        labelled.load(name, data_dir)
