"""What people called alarms, counted."""

from __future__ import annotations

from dataclasses import replace

import pytest

from alerts.feedback import Verdict, give_feedback, judged
from tests.alerts.build import Story, at, diagnosis


def test_the_last_verdict_counts_and_every_one_stays_in_the_history() -> None:
    story = Story()
    story.see(0, diagnosis())
    incident = story.only
    (once,) = give_feedback(incident, by="ann", now=at(1), verdict=Verdict.CORRECT).incidents
    (twice,) = give_feedback(
        once, by="bob", now=at(2), verdict=Verdict.FALSE_ALARM, note="a holiday"
    ).incidents
    (noted,) = give_feedback(twice, by="eve", now=at(3), verdict=None, note="hm").incidents
    assert (noted.verdict, noted.verdict_by) == ("false alarm", "bob")
    lines = [(c.by, c.words) for c in noted.history if c.what == "feedback"]
    assert lines == [("ann", "correct"), ("bob", "false alarm: a holiday"), ("eve", "hm")]
    with pytest.raises(ValueError, match="without words"):
        give_feedback(noted, by="eve", now=at(4), verdict=None)


@pytest.mark.parametrize(
    ("verdicts", "words"),
    [
        ((), ""),
        (("", ""), ""),
        (("correct", ""), "0 of 2 pages were called false by people, 1 not judged"),
        (
            ("false alarm", "correct", "false alarm", "other cause", "correct"),
            "2 of 5 pages were called false by people",
        ),
        (("false alarm",), "1 of 1 page was called false by people"),
    ],
)
def test_the_sentence_of_a_report(verdicts: tuple[str, ...], words: str) -> None:
    story = Story()
    story.see(0, diagnosis())
    assert judged(replace(story.only, verdict=verdict) for verdict in verdicts).words() == words
