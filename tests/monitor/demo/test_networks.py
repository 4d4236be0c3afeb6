"""The demo's networks: the same every time, worth having, and warm-started where they say."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from detectors.records import FloatArray, Task
from detectors.transfer.loss import loss_of
from monitor.demo.calendar import FULL
from monitor.demo.flights import NUMERIC, SOURCE, Flights, instant, load_flights
from monitor.demo.networks import Encoder, Network, train_from_scratch, warm_start


@pytest.fixture(scope="module")
def flights() -> dict[str, Flights]:
    return load_flights()


@pytest.fixture(scope="module")
def source(flights: dict[str, Flights]) -> Network:
    return train_from_scratch(flights[SOURCE].between(instant(1), instant(3)))


def loss(scores: FloatArray, late: FloatArray) -> float:
    return float(np.mean(loss_of(Task.BINARY, scores, late)))


def test_training_twice_gives_the_same_scores(flights: dict[str, Flights]) -> None:
    """Whatever random numbers were drawn before, and without touching anybody else's."""
    own = flights["WN"].between(instant(4), instant(5))
    first = train_from_scratch(own).score(own.features)
    torch.rand(7)
    before = torch.get_rng_state()
    second = train_from_scratch(own).score(own.features)
    np.testing.assert_array_equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


def test_another_seed_gives_another_network(flights: dict[str, Flights]) -> None:
    own = flights["WN"].between(instant(4), instant(5))
    first, second = train_from_scratch(own), train_from_scratch(own, seed=1)
    assert not np.array_equal(first.score(own.features), second.score(own.features))


@pytest.mark.parametrize("domain", ["US", "WN"])
def test_networks_beat_the_base_rate_on_months_they_have_not_seen(
    flights: dict[str, Flights], source: Network, domain: str
) -> None:
    """The oracle knows the share of late flights in the very rows it is judged on."""
    own = flights[domain].between(*FULL.domain_training)
    later = flights[domain].between(*FULL.reference)
    late = later.late()
    oracle = loss(np.full(len(late), late.mean()), late)
    assert loss(warm_start(source, own).score(later.features), late) < oracle
    assert loss(train_from_scratch(own).score(later.features), late) < oracle


def test_a_warm_start_tunes_the_upper_layers_and_keeps_the_lower(
    flights: dict[str, Flights], source: Network
) -> None:
    tuned = warm_start(source, flights["MQ"].between(instant(4), instant(6)))
    was, now = source.module.state_dict(), tuned.module.state_dict()
    kept = {name for name in was if torch.equal(was[name], now[name])}
    assert kept >= {name for name in was if name.startswith(("embeddings", "lower"))}
    assert not any(name.startswith("upper") for name in kept)
    assert tuned.encoder is source.encoder


def test_the_source_network_is_not_changed_by_a_warm_start(
    flights: dict[str, Flights], source: Network
) -> None:
    own = flights["9E"].between(instant(4), instant(5))
    before = source.score(own.features)
    warm_start(source, own)
    np.testing.assert_array_equal(source.score(own.features), before)
    assert all(weight.requires_grad for weight in source.module.parameters())


def test_missing_numbers_and_unknown_words_are_scored_as_ordinary(
    flights: dict[str, Flights],
) -> None:
    """A null is the training mean; a destination that was never seen has code 0."""
    own = flights["DL"].between(instant(4), instant(5))
    encoder = Encoder.fit(own.features)
    elsewhere = flights["UA"].between(instant(4), instant(5))
    encoded = encoder.encode(elsewhere.features)
    words = set(own.features.column("dest").to_pylist())
    known = [word in words for word in elsewhere.features.column("dest").to_pylist()]
    assert set(known) == {True, False}
    np.testing.assert_array_equal(encoded.codes[:, 1].numpy() > 0, known)
    seats = elsewhere.features.column("seats").to_pylist()
    nulls = np.array([value is None for value in seats])
    assert nulls.any()
    assert (encoded.numbers[:, NUMERIC.index("seats")].numpy()[nulls] == 0).all()
