"""Sampling by hash: exact, repeatable, weights that add up, floors fixed from the tick before."""

from __future__ import annotations

import numpy as np
import pytest
import xxhash

from detectors.records import HOUR_US, Categories, Window
from monitor.ids import hash_texts
from monitor.intake.sampling import SamplerState, Sampling, kept, sample


def window(rows: int, *, tick: int = 0, domain: str = "big", job: str | None = None) -> Window:
    return Window(
        rows=rows,
        ts_us=np.full(rows, tick * HOUR_US),
        domain=Categories(np.zeros(rows, np.int32), (domain,)),
        categorical={} if job is None else {"job": Categories(np.zeros(rows, np.int32), (job,))},
    )


def ids(rows: int, prefix: str = "e") -> list[str]:
    return [f"{prefix}{i}" for i in range(rows)]


def test_hashes_are_those_of_the_reference_implementation() -> None:
    names = ["e1", "", "Zürich", "x" * 200]
    hi, lo = hash_texts("m", names)

    seed = xxhash.xxh3_64_intdigest(b"m")
    whole = [xxhash.xxh3_128_intdigest(name.encode(), seed) for name in names]
    assert [int(h) << 64 | int(low) for h, low in zip(hi, lo, strict=True)] == whole
    other, _ = hash_texts("n", names)
    assert not (hi == other).any()


def test_keeping_is_the_definition_hash_over_two_to_the_64_below_the_rate() -> None:
    hi, _ = hash_texts("m", ids(3000))
    keep = kept(hi, 0.3)

    assert keep.tolist() == [int(h) / 2**64 < 0.3 for h in hi]
    assert kept(np.array([2**64 - 1], np.uint64), 1.0).all()


def test_weights_of_kept_rows_estimate_the_number_sent() -> None:
    hi, _ = hash_texts("m", ids(20_000))
    keep, weight, _ = sample(window(20_000), hi, Sampling(rate=0.1), SamplerState())

    assert weight is not None
    sd = (20_000 * 0.9 / 0.1) ** 0.5
    assert weight[keep].sum() == pytest.approx(20_000, abs=5 * sd)


def test_a_small_domain_is_kept_whole_once_a_tick_has_been_counted() -> None:
    sampling = Sampling(rate=0.01, floor_rows=50)
    state = SamplerState()
    shares: list[float] = []
    for tick in range(3):
        for domain, rows in (("big", 20_000), ("small", 40)):
            hi, _ = hash_texts("m", ids(rows, f"{domain}{tick}-"))
            keep, weight, state = sample(
                window(rows, tick=tick, domain=domain), hi, sampling, state
            )
            assert weight is not None
            if domain == "small":
                shares.append(float(keep.mean()))
                inclusion = 0.01 if tick == 0 else 1.0
            else:
                inclusion = 0.01
                assert keep.mean() == pytest.approx(0.01, abs=0.005)
            assert weight == pytest.approx(1 / inclusion)
    assert shares[0] < 0.2
    assert shares[1:] == [1.0, 1.0]


def test_thresholds_come_from_the_tick_before_and_not_from_the_rows_own() -> None:
    sampling = Sampling(rate=0.01, floor_rows=100, slices=(("job",),))
    state = SamplerState()
    hi, _ = hash_texts("m", ids(1000, "a"))
    _, _, state = sample(window(1000, tick=0, job="nurse"), hi, sampling, state)
    _, weight, state = sample(window(1000, tick=1, job="nurse"), hi, sampling, state)
    assert weight == pytest.approx(10.0), "100 of the 1,000 rows of the tick before"

    _, weight, state = sample(window(10, tick=1, job="nurse"), hi[:10], sampling, state)
    assert weight == pytest.approx(10.0), "a tick's own rows change nothing until it ends"

    _, weight, state = sample(window(10, tick=1, job="cook"), hi[:10], sampling, state)
    assert weight == pytest.approx(1.0), "a slice that had no rows keeps all"


def test_a_tick_counts_all_its_batches() -> None:
    sampling = Sampling(rate=0.01, floor_rows=100)
    state = SamplerState()
    hi, _ = hash_texts("m", ids(500))
    for _ in range(2):
        _, _, state = sample(window(500, tick=0), hi, sampling, state)
    _, weight, _ = sample(window(500, tick=1), hi, sampling, state)

    assert weight == pytest.approx(10.0), "100 of 2 x 500"


def test_where_nothing_is_sampled_there_are_no_weights() -> None:
    hi, _ = hash_texts("m", ids(5))
    keep, weight, _ = sample(window(5), hi, Sampling(), SamplerState())

    assert keep.all()
    assert weight is None


def test_labels_are_kept_wherever_a_floor_may_have_kept_their_event() -> None:
    assert Sampling(rate=0.1).highest_threshold == 0.1
    assert Sampling(rate=0.1, floor_rows=10).highest_threshold == 1.0


@pytest.mark.parametrize("rate", [0.0, -1.0, 1.5])
def test_a_rate_outside_its_range_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="sampling rate"):
        Sampling(rate=rate)
