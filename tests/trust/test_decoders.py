"""Damaged bodies and configurations: kept, or refused in words. A benchmark runs a million."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.config import Config, load_config, parse_config
from monitor.errors import InputError
from tests.monitor.serving import serving
from tests.trust.cases import KINDS, WORDS, Case, judge, make_case

CASES = 1_200


def test_damaged_inputs_are_kept_or_refused_in_words() -> None:
    ended: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number in range(CASES):
        case = make_case(1, number)
        try:
            ended[case.kind][judge(case)] += 1
        except Exception as error:
            pytest.fail(f"case {number}: {type(error).__name__}: {error}: {case}")
    for kind, counted in ended.items():
        # Inputs that are all refused, or all kept, would try little of the decoder.
        refused = sum(n for end, n in counted.items() if end != "kept")
        assert counted["kept"] > 3, (kind, counted)
        assert refused > 10, (kind, counted)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"m","events":[{"id":"a","ts":"2026-01-09T00:00:00Z","features":{"\xff":1}}]}',
        b'{"model":"m","events":[{"id":"a","ts":"2026-01-09T00:00:00Z","\xff":1,"score":0.5}]}',
        b'{"model":"m","\xff":1,"events":[{"id":"a","ts":"2026-01-09T00:00:00Z","score":0.5}]}',
    ],
)
def test_a_name_that_is_no_text_is_no_error_inside_kedge(tmp_path: Path, body: bytes) -> None:
    """Found by the cases: the decoder passes over names it does not know, and read them later."""
    with serving(tmp_path) as service:
        headers = {"content-type": "application/json"}
        assert service.client.post("/v1/events", content=body, headers=headers).status_code < 500


def test_a_time_zone_that_is_no_text_is_refused() -> None:
    """Case 25058 of seed 0, as it was found."""
    assert judge(make_case(0, 25_058)) == "400"


@pytest.mark.parametrize("number", [286_018, 515_338])
def test_a_text_in_a_dictionary_that_no_row_has_is_not_kept(number: int) -> None:
    """Of seed 1, as they were found: texts over the limit went into the vocabulary of a batch."""
    assert judge(make_case(1, number)) in {"kept", "rows refused"}


@pytest.mark.parametrize("number", [38_575, 77_127])
def test_a_duration_without_end_is_no_configuration(number: int) -> None:
    """Of seed 1, as they were found: hundreds of digits and a unit were a traceback."""
    assert judge(make_case(1, number)) == "refused"


def test_a_line_break_in_a_setting_does_not_break_the_line_that_refuses_it() -> None:
    """Case 894351 of seed 2, as it was found."""
    assert judge(make_case(2, 894_351)) == "refused"


@given(
    st.sampled_from(["json", "ndjson", "labels", "learn"]),
    st.lists(st.one_of(st.binary(max_size=20), st.sampled_from(WORDS)), max_size=12),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_words_in_any_order_are_kept_or_refused(kind: str, parts: list[bytes]) -> None:
    judge(Case(kind, b"".join(parts)))


@given(st.binary(max_size=300), st.booleans())
@settings(max_examples=100, deadline=None)
def test_any_bytes_as_arrow_or_gzip_are_kept_or_refused(body: bytes, zipped: bool) -> None:
    judge(Case("arrow", body, zipped))


TOML = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(
                [
                    "service", "models", "channels", "sources", "host", "port", "name", "kind",
                    "url", "model", "budget", "tick", "task", "slices", "path", "x y", "",
                ]
            ),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["service", "models", "channels", "sources", "z"]), TOML))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_configuration_is_taken_or_refused_in_one_line(raw: dict[str, object]) -> None:
    said = "kedge.toml"
    try:
        assert isinstance(parse_config(raw, source="kedge.toml"), Config)
    except InputError as error:
        said = str(error)
    assert "\n" not in said
    assert said.startswith("kedge.toml")


@pytest.mark.parametrize(
    "body", [b"a = " + b"[" * 5_000, b"\xff", b"a = 1\x00", b"[" * 5_000, b"a = 1\na = 2"]
)
def test_a_file_that_is_no_toml_is_one_line(tmp_path: Path, body: bytes) -> None:
    file = tmp_path / "kedge.toml"
    file.write_bytes(body)
    with pytest.raises(InputError, match="not valid TOML"):
        load_config(file)
