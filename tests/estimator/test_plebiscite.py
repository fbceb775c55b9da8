"""The Slovenian survey of 1990, whose truth the plebiscite told: a guard against over-correction.

D. B. Rubin, H. S. Stern, V. Vehovar, "Handling 'Don't Know' Survey Responses: The Case of the
Slovenian Plebiscite", JASA 90, 1995, 822-828.
"""

import numpy as np
import pandas as pd

from mnar_ebm import MNARImputer
from mnar_ebm.metrics import pool

ANSWERS = ("yes", "no", None)
CELLS = {
    "yes": [[1191, 8, 21], [8, 0, 4], [107, 3, 9]],
    "no": [[158, 68, 29], [7, 14, 3], [18, 43, 31]],
    None: [[90, 2, 109], [1, 2, 25], [19, 8, 96]],
}
"""People by secession, attendance (down) and independence (across); None is "don't know"."""

TRUTH, AT_RANDOM = 0.885, 0.882


def survey():
    """Return the 2074 people."""
    people = [
        (secession, attendance, independence)
        for secession, table in CELLS.items()
        for attendance, row in zip(ANSWERS, table, strict=True)
        for independence, count in zip(ANSWERS, row, strict=True)
        for _ in range(count)
    ]
    return pd.DataFrame(people, columns=["secession", "attendance", "independence"])


def test_dont_know_is_not_taken_for_a_hidden_no(quick_compile):
    """The same people tend to say it thrice, which is no evidence of what they hide."""
    people = survey()
    assert len(people) == 2074
    settings = {"hidden_dim": 32, "decoder": "linear"}
    imputer = MNARImputer(max_iter=1000, num_models=2, settings=settings, random_state=0)
    tables = imputer.fit(people).sample(people, 20)
    assert imputer.mechanism_ == "ignorable"
    assert "only levels are missing" in str(imputer.report_)
    is_yes = [(one.attendance == "yes") & (one.independence == "yes") for one in tables]
    shares = np.array([[one.mean()] for one in is_yes])
    pooled = pool(shares, shares * (1.0 - shares) / len(people), len(people) - 1)
    (low,), (high,) = pooled.interval()
    assert low < TRUTH < high and abs(pooled.estimate[0] - TRUTH) < 0.02
    assert abs(pooled.estimate[0] - AT_RANDOM) < 0.015
