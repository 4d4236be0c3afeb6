"""The test of a retraining that serves: which number decides, and how it ended, in words.

A request names a stream. A loss is held against the baseline's on the same rows where the harm is
to be seen there too, because no season moves that; else against the 28 days before the change.
Calibration has a level of its own, the reference's, and the difference to a baseline is to be no
harm. What a version forgot of its source is told by the source probe, once that version has scored
it. Where nothing can tell by the deadline, the request ends undecided.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alerts.records import RequestStatus, RetrainingRequest
from detectors.actions import PROBE
from detectors.records import DAY_US, State, StreamSpec, to_us
from detectors.remedy import Answer, Remedy, answer_of, remedy_of
from detectors.scales import difference_scale, loss_scale
from detectors.streams import effect_words, statistics_of
from monitor.watching.progress import Progress, index_of
from monitor.watching.watch import Watch

DEADLINE_US = 28 * DAY_US
DEADLINE_TIMES = 4
"""A test has four times the time it named, 28 days at least."""
SEEN_APART = 0.5
"""The baseline's loss is the yardstick where half of the harm or more is beyond it."""
TRANSFER = "transfer.difference"


@dataclass(frozen=True, slots=True)
class Test:
    """What the days say of one stream. `how`: what it was held against, in words."""

    spec: StreamSpec
    remedy: Remedy
    how: str

    @property
    def one_sided(self) -> bool:
        """A loss may be lower than expected; a label rate may err on both sides."""
        return self.spec.stream.signal != "calibration"


def deadline_us(request: RetrainingRequest) -> int:
    """How long after serving a test may go without an answer."""
    return max(DEADLINE_US, DEADLINE_TIMES * request.action.within_days * DAY_US)


def verdict_on(
    watch: Watch, progress: Progress, request: RetrainingRequest, passed_us: int
) -> tuple[RequestStatus, str] | None:
    """How the test of a completed request ended, in words; None while it has not."""
    if request.action.stream == PROBE:
        said = _by_probe(watch, request)
    else:
        said = _by_days(watch, progress, request, passed_us)
    status, words = said
    if status is not None:
        return status, words
    if passed_us < deadline_us(request):
        return None
    days = passed_us // DAY_US
    after = f"nothing could tell {days} d after {_version(request)} began to serve"
    return RequestStatus.UNDECIDED, f"{after}: {words}; alarms are told again"


def _by_probe(watch: Watch, request: RetrainingRequest) -> tuple[RequestStatus | None, str]:
    """The probe says at once, and only of a version that has scored it."""
    if not request.version:
        return None, "the request does not say which version serves, so no probe can be looked up"
    found = [one for one in watch.versions.probe if one.now == request.version]
    if not found:
        return None, (
            f"version {request.version} has not scored the source probe; `kedge probe score` does"
        )
    match found[-1].state:
        case State.OK:
            return RequestStatus.VERIFIED, found[-1].words
        case State.DRIFT:
            return RequestStatus.REFUTED, found[-1].words
    return None, found[-1].words


def _by_days(
    watch: Watch, progress: Progress, request: RetrainingRequest, passed_us: int
) -> tuple[RequestStatus | None, str]:
    test = test_of(watch, progress, request)
    if test is None:
        return None, f"too few labelled days to tell by {request.action.stream}"
    margin, remedy = test.spec.delta_min, test.remedy
    late = passed_us >= request.action.within_days * DAY_US
    answer = answer_of(remedy, margin=margin, late=late, one_sided=test.one_sided)
    name, told = request.action.stream, _words(watch, request, test, passed_us)
    match answer:
        case Answer.WORKED:
            return RequestStatus.VERIFIED, f"{name} is back inside its margin {told}"
        case Answer.FAILED:
            return RequestStatus.REFUTED, f"{name} is not back {told}"
    if not remedy.shows_harm(margin):
        return None, (
            f"{name} had not left its margin beyond noise before, so nothing could show that the "
            "harm has gone"
        )
    return None, (
        f"{max(remedy.gone, 0.0):.0%} of the harm in {name} is gone in "
        f"{remedy.days} days of labels, give or take "
        f"{remedy.reach * remedy.left_error / max(abs(remedy.harm), 1e-12):.0%}"
    )


def test_of(watch: Watch, progress: Progress, request: RetrainingRequest) -> Test | None:
    """The number that decides a request, and what it did; None where days cannot tell."""
    assert request.served_since is not None
    places = index_of(watch.label_specs)
    name = request.action.stream
    place = places.get(name, places.get(name.partition("@")[0]))
    if place is None:
        return None
    # A day that is still filling is no day yet; ticks of rows count as they come.
    days = [day for day in progress.cohort_days if day.end_us % watch.cohort_us == 0]
    start_us = np.array([day.start_us for day in days], dtype=np.int64)
    y, v = statistics_of(watch.label_specs, watch.profile, days)
    served_us = -(-to_us(request.served_since) // DAY_US) * DAY_US
    known = progress.label.level
    level = np.nan_to_num(known) if len(known) else np.zeros(len(places))

    def told(at: int, how: str, fixed: float | None = None) -> Test | None:
        found = remedy_of(
            start_us,
            y[:, at],
            v[:, at],
            changed_us=to_us(request.since) // DAY_US * DAY_US,
            served_us=served_us,
            fallback=float(level[at]),
            fixed=fixed,
        )
        return None if found is None else Test(watch.label_specs[at], found, how)

    signal = watch.label_specs[place].stream.signal
    if signal == "calibration":
        return told(place, "the reference", float(level[place]))
    if signal == "transfer":
        return told(place, "no more than the baseline's", 0.0)
    raw = told(place, "the days before the change")
    beside = places.get(watch.label_specs[place].stream.id.replace("loss.mean", TRANSFER))
    if raw is None or beside is None:
        return raw
    apart = told(beside, "the baseline's loss on the same rows, before the change and now")
    if apart is None or not apart.remedy.shows_harm(apart.spec.delta_min):
        return raw
    units = difference_scale(watch.profile).sd / loss_scale(watch.profile).sd
    return apart if apart.remedy.harm * units >= SEEN_APART * raw.remedy.harm else raw


def _version(request: RetrainingRequest) -> str:
    return f"version {request.version}" if request.version else "the result"


def _words(watch: Watch, request: RetrainingRequest, test: Test, passed_us: int) -> str:
    now, expected, ill = (
        _level_words(watch, test.spec, value)
        for value in (test.remedy.after, test.remedy.expected, test.remedy.ill)
    )
    return (
        f"{passed_us // DAY_US} d after {_version(request)} began to serve: {now}, where "
        f"{expected} is expected ({test.how}); it was {ill}"
    )


def _level_words(watch: Watch, spec: StreamSpec, value: float) -> str:
    """A stream's value in the units people know: a loss, a difference of losses, log odds."""
    match spec.stream.signal:
        case "loss":
            scale = loss_scale(watch.profile)
            return f"mean loss {scale.mean + value * scale.sd:.3g}"
        case "transfer":
            apart = value * difference_scale(watch.profile).sd
            return f"loss {apart:+.3g} beside the baseline's"
    return effect_words(spec, value, watch.profile)
