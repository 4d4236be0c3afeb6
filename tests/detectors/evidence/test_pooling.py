from __future__ import annotations

import numpy as np
from numpy.testing import assert_allclose

from detectors.evidence.pooling import cautious_index, pool


def test_pooled_weights_agree_with_the_published_vector() -> None:
    rows = np.array([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    expected = [
        [0.752574, 0.155061, 0.092365],
        [0.562957, 0.243583, 0.19346],
        [0.118257, 0.170561, 0.711182],
    ]
    assert_allclose(pool(rows), expected, atol=5e-7)


def test_the_cautious_index_agrees_with_the_published_vector() -> None:
    weights = np.array([[0.05, 0.15, 0.3, 0.25, 0.15, 0.1], [0.8, 0.2, 0, 0, 0, 0]])
    assert cautious_index(weights).tolist() == [4, 0]


def test_one_stream_without_information_takes_the_shape_of_the_base() -> None:
    base = np.array([0.1, 0.2, 0.7])
    assert_allclose(pool(np.full((1, 3), 1 / 3), base), [base])


def test_streams_that_agree_pull_an_undecided_one() -> None:
    rows = np.array([[0.98, 0.01, 0.01]] * 20 + [[1 / 3, 1 / 3, 1 / 3]])
    assert pool(rows)[-1, 0] > 0.8
