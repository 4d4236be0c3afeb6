"""The report of a domain somebody is working on: the name stays, the rest is looked at afresh."""

from __future__ import annotations

from dataclasses import replace

from detectors.actions import action_for
from detectors.records import Diagnosis, Mode
from monitor.reports.live import beside

OPEN = Diagnosis(Mode.CONCEPT_SHIFT, 0.8, None, ("why",), action_for(Mode.CONCEPT_SHIFT))


def test_the_name_people_work_on_stays_first_and_is_not_said_twice() -> None:
    looked = replace(
        OPEN,
        mode=Mode.COVARIATE_SHIFT,
        candidates=(Mode.COVARIATE_SHIFT, Mode.CONCEPT_SHIFT, Mode.PRIOR_SHIFT),
    )
    both = beside(OPEN, looked)
    assert both.mode is Mode.CONCEPT_SHIFT
    assert both.candidates == (Mode.CONCEPT_SHIFT, Mode.COVARIATE_SHIFT, Mode.PRIOR_SHIFT)
    quiet = beside(OPEN, replace(OPEN, mode=Mode.NONE, candidates=()))
    assert (quiet.mode, quiet.candidates) == (Mode.CONCEPT_SHIFT, ())
