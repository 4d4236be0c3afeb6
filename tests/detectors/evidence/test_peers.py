"""Who is a peer, and what is left of a stream when its peers are taken out."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.evidence.peers import Control, Series, choose_peers, median_of
from detectors.records import DAY_US, FloatArray

DAYS = 60


def series(y: FloatArray, first_day: int = 0) -> Series:
    """One stream by the day, each value as sure as the next."""
    starts = (first_day + np.arange(len(y))) * DAY_US
    return Series(starts, y[:, None], np.full((len(y), 1), 0.01))


def fleet(count: int, *, own: float, seed: int = 0) -> dict[str, Series]:
    """Domains that share a random walk and have `own` sd of noise of their own each day."""
    rng = np.random.default_rng(seed)
    common = np.cumsum(rng.normal(0, 1, DAYS))
    return {f"d{i}": series(common + own * rng.normal(0, 1, DAYS)) for i in range(count)}


def controls(domains: dict[str, Series], name: str = "d0") -> Control | str:
    others = {other: one for other, one in domains.items() if other != name}
    found = choose_peers(domains[name], others, ("x",))
    return found.controls["x"] if "x" in found.controls else found.why_not["x"]


def test_domains_that_share_a_walk_are_peers_and_strangers_are_not() -> None:
    """Correlation and median as numpy says; a stranger's walk is left out of the five best."""
    rng = np.random.default_rng(5)
    domains = fleet(4, own=0.5)
    domains["stranger"] = series(rng.normal(0, 1, DAYS))
    found = controls(domains)
    assert isinstance(found, Control)
    assert found.peers == ("d1", "d2", "d3")
    z = [
        (one.y[:, 0] - one.y[:, 0].mean()) / one.y[:, 0].std()
        for one in (domains[name] for name in found.peers)
    ]
    expected = np.corrcoef(domains["d0"].y[:, 0], np.median(z, axis=0))[0, 1]
    assert found.correlation == pytest.approx(expected)
    assert isinstance(controls(domains, "stranger"), str)


def test_the_slope_is_the_posterior_mean_of_a_regression_with_prior_n_1_quarter() -> None:
    """Against the normal equations of the same rows with one pseudo-row for the prior."""
    domains = fleet(6, own=1.0)
    found = controls(domains)
    assert isinstance(found, Control)
    own = domains["d0"].y[:, 0]
    peers = np.stack([domains[name].y[:, 0] for name in found.peers], axis=1)
    x = np.median((peers - found.centre) / found.spread, axis=1)
    y = (own - own.mean()) / own.std()
    x, y = x - x.mean(), y - y.mean()
    noise = np.sqrt(np.mean((y - x) ** 2))
    rows = np.append(x / noise, 1 / 0.5)
    slope = np.linalg.lstsq(rows[:, None], np.append(y / noise, 1.0 / 0.5), rcond=None)[0][0]
    assert found.slope == pytest.approx(slope)


def test_what_moves_all_is_gone_and_what_moves_one_stays() -> None:
    domains = fleet(6, own=0.1)
    found = controls(domains)
    assert isinstance(found, Control)
    peers = np.stack([domains[name].y[:, 0] for name in found.peers], axis=1)
    v = np.full(DAYS, 0.01)
    own = domains["d0"].y[:, 0]
    plain, _ = found.difference(own, v, peers, np.full(peers.shape, 0.01))
    both, _ = found.difference(own + 3.0, v, peers + 3.0, np.full(peers.shape, 0.01))
    alone, _ = found.difference(own + 3.0, v, peers, np.full(peers.shape, 0.01))
    assert np.std(plain) < 0.2 * np.std(own)
    assert np.abs(both - plain).max() < 0.3
    assert alone - plain == pytest.approx(3.0)


def test_one_ill_peer_of_five_hardly_moves_the_control() -> None:
    y = np.zeros((1, 5)) + np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    ill = y.copy()
    ill[0, 4] = 1_000.0
    v, ones, none = np.full((1, 5), 0.01), [1.0] * 5, [0.0] * 5
    assert median_of(y, v, none, ones)[0] == pytest.approx(0.0)
    assert median_of(ill, v, none, ones)[0] == pytest.approx(0.0)


def test_a_tick_with_fewer_than_two_peers_is_empty_and_two_are_enough() -> None:
    found = Control(("a", "b", "c"), (0.0,) * 3, (1.0,) * 3, 1.0, 1.0, 0.9)
    v = np.array([[0.1, np.inf, np.inf], [0.1, 0.1, np.inf]])
    _, variance = found.difference(np.zeros(2), np.full(2, 0.1), np.zeros((2, 3)), v)
    assert np.isinf(variance[0])
    assert np.isfinite(variance[1])


def test_ticks_after_the_own_reference_choose_nothing_and_order_does_not_matter() -> None:
    """A peer's later ticks are what looking ahead would read: they change no bit of the choice."""
    domains = fleet(5, own=0.5)
    own = domains.pop("d0")
    longer = {
        name: series(np.append(one.y[:, 0], np.full(30, 99.0))) for name, one in domains.items()
    }
    turned = dict(reversed(domains.items()))
    first = choose_peers(own, domains, ("x",))
    assert choose_peers(own, longer, ("x",)) == first
    assert choose_peers(own, turned, ("x",)) == first


def test_too_few_shared_ticks_are_said_in_words() -> None:
    domains = fleet(4, own=0.1)
    own = series(domains.pop("d0").y[:15, 0])
    why = choose_peers(own, domains, ("x",)).why_not["x"]
    assert "fewer than 2 domains share 20 ticks" in why
