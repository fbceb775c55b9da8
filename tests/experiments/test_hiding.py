"""Cells that are hidden first: halves of images, mask files, and how near the fillings are."""

import numpy as np
import pytest

from experiments import hiding
from experiments.systems import Completed
from mnar_ebm import data


def file(x, columns=None):
    """Return a table as a CSV file."""
    columns = columns or [f"p{number}" for number in range(x.shape[1])]
    return data.from_table(data.make_table("images", columns, x))


def test_halves_are_hidden_and_gaps_stay():
    """Below, of rows of pixels from above; text and numbers alike."""
    x = np.arange(32.0).reshape(2, 16)
    x[0, 1] = np.nan
    before = file(x)
    after = hiding.hide(before, hiding.mask_of("lower_half", before))
    assert np.isnan(after.x[:, 8:]).all() and (after.text[:, 8:] == "").all()
    np.testing.assert_array_equal(after.x[:, :8], x[:, :8])
    upper = hiding.mask_of("upper_half", before)
    assert (upper != hiding.mask_of("lower_half", before)).all()
    with pytest.raises(ValueError, match="square images.* got 5"):
        hiding.mask_of("lower_half", file(np.ones((2, 5))))


def test_a_mask_file_has_a_row_for_all_or_for_each(tmp_path):
    """Columns go by name; other values and numbers of rows are refused."""
    path, before = tmp_path / "mask.csv", file(np.ones((3, 2)), ["a", "b"])
    path.write_text("b,a\n0,1\n")
    np.testing.assert_array_equal(hiding.mask_from(path, before), [[True, False]] * 3)
    path.write_text("a,b\n0,1\n1,1\n1,0\n")
    assert hiding.mask_from(path, before).tolist() == [[False, True], [True, True], [True, False]]
    path.write_text("a,b\n0,1\n1,1\n")
    with pytest.raises(ValueError, match="expected 1 row or 3, got 2"):
        hiding.mask_from(path, before)
    path.write_text("a,b\n0,2\n")
    with pytest.raises(ValueError, match="expected 1 where a cell is shown"):
        hiding.mask_from(path, before)


def test_fillings_are_compared_with_what_was_hidden():
    """By hand: errors of 1 and 3 on a range of 4; draws of the right law cover 90 %."""
    before = file(np.array([[0.0, 1.0, 2.0, 4.0]]))
    after = hiding.hide(before, np.array([[True, False, False, True]]))
    completed = Completed(after, np.array([[0.0, 2.0, 5.0, 4.0]]), np.zeros((1, 1, 4)), 0.0, [])
    found = hiding.compare(before, completed)
    assert found["cells"] == 2 and found["rmse"] == pytest.approx(5**0.5)
    assert found["psnr"] == pytest.approx(10 * np.log10(16 / 5)) and "coverage" not in found
    rng = np.random.default_rng(0)
    before = file(rng.normal(size=(4000, 2)))
    after = hiding.hide(before, np.tile([True, False], (4000, 1)))
    draws = rng.normal(size=(19, 4000, 2))
    told = hiding.compare(before, Completed(after, draws.mean(axis=0), draws, 0.0, []))
    assert abs(told["coverage"] - 0.9) < 0.02
