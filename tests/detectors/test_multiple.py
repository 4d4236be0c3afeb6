from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from detectors.multiple import benjamini_hochberg, e_benjamini_hochberg


def test_e_bh_keeps_the_published_example() -> None:
    e = np.array([120, 35, 18, 60, 2, 0.5, 400, 9, 11, 1])
    kept = e_benjamini_hochberg(np.log(e), 0.1)
    assert sorted(e[kept]) == [35, 60, 120, 400]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_agrees_with_scipy(p: list[float]) -> None:
    adjusted = false_discovery_control(p)
    clear = np.abs(adjusted - 0.05) > 1e-12
    assert np.array_equal(benjamini_hochberg(np.array(p))[clear], (adjusted <= 0.05)[clear])


def test_an_unanswered_question_is_not_counted() -> None:
    p = np.array([0.04, np.nan, np.nan])
    assert benjamini_hochberg(p).tolist() == [True, False, False]
    assert e_benjamini_hochberg(np.log(np.array([21.0, np.nan]))).tolist() == [True, False]


def test_no_question_gets_no_answer() -> None:
    assert benjamini_hochberg(np.empty(0)).shape == (0,)
    assert e_benjamini_hochberg(np.empty(0)).shape == (0,)
    assert not e_benjamini_hochberg(np.array([-np.inf, -np.inf])).any()
