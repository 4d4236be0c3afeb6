"""Names outside the schema: so many at a time, whatever comes."""

from __future__ import annotations

from monitor.intake.new_names import KEPT_US, NewNames


def test_names_are_let_in_by_name_while_there_is_room_and_leave_when_they_stay_away() -> None:
    names = NewNames()
    assert names.admit("m", ["c", "b", "a"], now_us=0, most=2) == {"a", "b"}
    assert names.admit("m", ["c"], now_us=KEPT_US, most=2) == set(), "no room yet"
    assert names.admit("m", ["c", "b"], now_us=KEPT_US + 1, most=2) == {"b", "c"}, "a is gone"
    assert names.admit("m", ["a", "b", "c"], now_us=KEPT_US + 2, most=2) == {"b", "c"}
    assert names.admit("other", ["a"], now_us=0, most=2) == {"a"}
    assert names.admit("m", ["b"], now_us=0, most=0) == {"b"}
    assert NewNames().admit("m", ["b"], now_us=0, most=0) == set()
