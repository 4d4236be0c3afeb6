"""`kedge replay` on simulated histories: what is said, when, and what the JSON holds."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.console import Console

from alerts.records import IncidentState
from detectors.records import DAY_US, Maturity, Mode, Settings, Tier, TransferState, to_us
from monitor.cli.replay import replay as replay_command
from monitor.errors import UsageError
from monitor.replaying.replay import DomainReplay, Replay, replay, to_json
from monitor.reports.replay_text import print_replay
from tests.simulate import START_US, Stream, history, table

SHOP = Stream(rows_a_day=60)
DAILY = Settings(tick_us=DAY_US)
REFERENCE_DAYS = 30


def run(
    *streams: Stream,
    days: int = 30,
    seed: int = 1,
    fault: str = "none",
    fault_day: int | None = None,
    settings: Settings = DAILY,
) -> Replay:
    """A reference of 30 days and the `days` after it, replayed."""
    streams = streams or (SHOP,)
    reference = table(history(*streams, days=REFERENCE_DAYS, seed=seed))
    log = history(
        *streams,
        days=days,
        seed=seed,
        first_day=REFERENCE_DAYS,
        fault=fault,
        fault_day=None if fault_day is None else REFERENCE_DAYS + fault_day,
    )
    return replay(reference, table(log, like=reference), settings)


def only(result: Replay) -> DomainReplay:
    (domain,) = result.domains
    return domain


def seen(domain: DomainReplay) -> list[tuple[str, str, str, str, float]]:
    return [
        (f.ts.isoformat(), f.onset.isoformat(), f.stream, f.tier.value, f.evidence)
        for f in domain.findings
    ]


def text_of(result: Replay, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    print_replay(result, console)
    return console.export_text()


@pytest.fixture(scope="module")
def quiet() -> Replay:
    return run(SHOP, days=40)


@pytest.fixture(scope="module")
def broken() -> Replay:
    """A label rule that changes on the tenth day of two domains' log, in the first of them."""
    return run(SHOP, Stream(domain="branch", rows_a_day=60), fault="label_rule", fault_day=10)


def test_a_history_without_change_pages_nobody(quiet: Replay) -> None:
    domain = only(quiet)
    assert not [f for f in domain.findings if f.tier is Tier.PAGE and f.kind != "verdict"]
    assert domain.ticks == 40
    assert domain.guaranteed


def test_a_better_score_is_said_to_help(quiet: Replay) -> None:
    verdict = only(quiet).verdict
    assert verdict.state is TransferState.HELPS
    assert verdict.bound is not None
    assert verdict.bound < 0
    assert "lower than the from-scratch baseline" in verdict.words


def test_a_worse_score_pages_once_outside_the_budget() -> None:
    domain = only(run(Stream(rows_a_day=150, harm=1.2), days=40))
    told = [f for f in domain.findings if f.kind == "verdict"]
    assert domain.verdict.state is TransferState.HURTS
    assert len(told) == 1
    assert [i.mode for i in domain.incidents] == [Mode.NEGATIVE_TRANSFER]
    assert to_json(run_of(domain))["budget"]["shop"]["spent"] == 0


def run_of(domain: DomainReplay) -> Replay:
    return Replay("model", DAILY, (domain,), ())


def test_a_changed_label_rule_pages_its_domain_and_no_other(broken: Replay) -> None:
    shop, branch = broken.domains
    pages = [f for f in shop.findings if f.tier is Tier.PAGE]
    struck = START_US + (REFERENCE_DAYS + 10) * DAY_US
    assert pages
    assert 0 <= to_us(pages[0].ts) - struck <= 5 * DAY_US
    assert not [f for f in branch.findings if f.tier is Tier.PAGE]
    assert any(i.mode is Mode.LABEL_SEMANTICS for i in shop.incidents)


def test_the_same_files_give_the_same_replay(broken: Replay) -> None:
    again = run(SHOP, Stream(domain="branch", rows_a_day=60), fault="label_rule", fault_day=10)
    assert json.dumps(to_json(again)) == json.dumps(to_json(broken))


def test_rows_of_the_log_may_come_in_any_order(broken: Replay) -> None:
    reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1))
    log = history(
        SHOP,
        days=30,
        seed=1,
        first_day=REFERENCE_DAYS,
        fault="label_rule",
        fault_day=REFERENCE_DAYS + 10,
    )
    order = np.random.default_rng(0).permutation(log.num_rows)
    mixed = replay(reference, table(log.take(pa.array(order)), like=reference), DAILY)
    straight = replay(reference, table(log, like=reference), DAILY)
    assert [s[:4] for s in seen(only(mixed))] == [s[:4] for s in seen(only(straight))]
    assert np.allclose([s[4] for s in seen(only(mixed))], [s[4] for s in seen(only(straight))])


def test_a_column_that_vanishes_pages_at_once_and_once() -> None:
    domain = only(run(fault="missing", fault_day=0, days=20))
    schema = [f for f in domain.findings if f.kind == "schema"]
    assert [f.stream for f in schema] == ["schema.missing:spend"]
    assert schema[0].tier is Tier.PAGE
    assert to_us(schema[0].ts) == START_US + (REFERENCE_DAYS + 1) * DAY_US


def test_an_incident_resolves_after_three_quiet_days() -> None:
    """Two days of nulls, mended: the ticket closes three days after the margin is met."""
    reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1))
    log = history(SHOP, days=40, seed=1, first_day=REFERENCE_DAYS)
    ts = log["ts"].cast(pa.int64()).to_numpy() - START_US - REFERENCE_DAYS * DAY_US
    ill = pa.array((ts >= 10 * DAY_US) & (ts < 12 * DAY_US))
    spend = pc.if_else(ill, pa.scalar(None, pa.float64()), log["spend"])
    log = log.set_column(log.column_names.index("spend"), "spend", spend)
    domain = only(replay(reference, table(log, like=reference), DAILY))
    (incident,) = [i for i in domain.incidents if "spend" in i.columns]
    assert incident.state is IncidentState.RESOLVED
    assert incident.closed_at is not None
    mended = incident.opened_at.replace(hour=0) + timedelta(days=1)
    assert timedelta(days=3) <= incident.closed_at - mended <= timedelta(days=7)
    assert incident.mode is Mode.FEATURE_ABSENT


def test_a_new_domain_warms_up_and_never_pages_before_day_fourteen() -> None:
    """Labels turn on the fifth day; only the transfer verdict may speak, and nothing does."""
    new = Stream(domain="new", rows_a_day=200, harm=0.0)
    reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1))
    for days, maturity in (
        (1, Maturity.WARMING),
        (12, Maturity.PROVISIONAL),
        (17, Maturity.GUARANTEED),
    ):
        log = history(
            new,
            days=days,
            seed=3,
            first_day=REFERENCE_DAYS,
            fault="label_rule",
            fault_day=REFERENCE_DAYS + 5,
        )
        result = replay(reference, table(log, like=reference), DAILY)
        domain = only(result)
        born = domain.since_us // DAY_US * DAY_US
        early = [
            f
            for f in domain.findings
            if f.tier is Tier.PAGE and f.kind == "drift" and to_us(f.ts) - born < 14 * DAY_US
        ]
        assert not early
        assert domain.progress.feature.bank.maturity is maturity
        assert ("the budget needs 14" in domain.why_not) is (maturity is not Maturity.GUARANTEED)
        assert any("starts as a new domain" in note for note in result.notes)


def test_a_reference_without_times_starts_young() -> None:
    reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1).drop_columns(["ts", "label_ts"]))
    log = history(SHOP, days=10, seed=1, first_day=REFERENCE_DAYS)
    domain = only(replay(reference, table(log, like=reference), DAILY))
    assert domain.progress.feature.bank.maturity is Maturity.PROVISIONAL
    assert "14" in domain.why_not


def test_log_rows_that_are_not_later_than_the_reference_are_left_out() -> None:
    whole = history(SHOP, days=50, seed=1)
    reference = table(whole.slice(0, 25 * SHOP.rows_a_day))
    result = replay(reference, table(whole, like=reference), DAILY)
    assert only(result).ticks <= 26
    assert any("not later than the reference" in note for note in result.notes)
    assert reference.window.ts_us is not None
    assert only(result).since_us > int(reference.window.ts_us.max())


def test_a_log_that_runs_beside_its_reference_in_time_is_judged_whole() -> None:
    """A split by rows instead of by time leaves nothing out, and says so."""
    whole = history(SHOP, days=30, seed=1)
    reference = table(whole)
    result = replay(reference, table(whole, like=reference), DAILY)
    assert result.domains[0].ticks == 30
    assert any("beside its reference" in note for note in result.notes)


def test_rows_without_a_time_or_a_domain_are_left_out_and_counted() -> None:
    reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1))
    log = history(SHOP, days=5, seed=1, first_day=REFERENCE_DAYS)
    nameless = pa.array([None] * 3 + ["shop"] * (log.num_rows - 3))
    log = log.set_column(log.column_names.index("domain"), "domain", nameless)
    timeless = pc.if_else(
        pa.array(np.arange(log.num_rows) == 50), pa.scalar(None, log["ts"].type), log["ts"]
    )
    log = log.set_column(log.column_names.index("ts"), "ts", timeless)
    result = replay(reference, table(log, like=reference), DAILY)
    assert only(result).rows.window.rows == log.num_rows - 4
    assert any("3 rows of the log name no domain" in note for note in result.notes)
    assert any("1 rows without an event time" in note for note in result.notes)


def test_a_domain_of_one_row_is_replayed() -> None:
    reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1))
    log = history(SHOP, days=3, seed=1, first_day=REFERENCE_DAYS)
    alone = pa.array(["alone"] + ["shop"] * (log.num_rows - 1))
    log = log.set_column(log.column_names.index("domain"), "domain", alone)
    result = replay(reference, table(log, like=reference), DAILY)
    first = result.domains[0]
    assert first.deployment.domain == "alone"
    assert first.verdict.state is TransferState.UNDETERMINED
    json.dumps(to_json(result), allow_nan=False)


@pytest.fixture(scope="module")
def by_rows() -> Replay:
    """Two files without any time, in ticks of 50 rows; labels turn after 1,000."""
    stream = Stream(rows_a_day=100, harm=-2.0)
    times = ["ts", "label_ts"]
    reference = table(history(stream, days=50, seed=1).drop_columns(times))
    log = history(stream, days=20, seed=1, first_day=50, fault="label_rule", fault_day=60)
    settings = Settings(tick_rows=50)
    return replay(reference, table(log.drop_columns(times), like=reference), settings)


def test_ticks_of_rows_say_rows_and_promise_no_rate(by_rows: Replay) -> None:
    result = to_json(by_rows)
    pages = [alarm for alarm in result["alarms"] if alarm["kind"] == "drift"]
    assert result["ticks"] == 40
    assert pages
    assert all(alarm["ts"] is None and alarm["row"] % 50 == 0 for alarm in result["alarms"])
    assert 1000 < pages[0]["row"] <= 1500
    budget = result["budget"]["shop"]
    assert (budget["tick"], budget["realised"], budget["guaranteed"]) == ("50 rows", None, False)
    assert not any(" since " in incident["headline"] for incident in result["incidents"])
    assert "1970" not in json.dumps(result)


def test_ticks_of_rows_reach_a_verdict(by_rows: Replay) -> None:
    """Each tick stands for a day of the review; pooled to days of 24 ticks there were only two."""
    assert only(by_rows).verdict.state is TransferState.HELPS
    assert len(only(by_rows).progress.cohort_days) == 40


def test_without_labels_scores_or_a_baseline_what_is_left_is_followed() -> None:
    for gone, signals in (
        (("label", "label_ts"), {"prediction", "column"}),
        (("baseline_score",), {"prediction", "column", "loss", "calibration"}),
        (("score", "baseline_score"), {"column"}),
    ):
        reference = table(history(SHOP, days=REFERENCE_DAYS, seed=1).drop_columns(list(gone)))
        log = history(SHOP, days=3, seed=1, first_day=REFERENCE_DAYS).drop_columns(list(gone))
        domain = only(replay(reference, table(log, like=reference), DAILY))
        specs = (*domain.watch.feature_specs, *domain.watch.label_specs)
        assert {spec.stream.signal for spec in specs} == signals
        unheard = gone != ("label", "label_ts")
        expected = TransferState.NOT_MONITORED if unheard else TransferState.UNDETERMINED
        assert domain.verdict.state in {expected, TransferState.NOT_MONITORED}


def test_the_json_keeps_its_contract(broken: Replay) -> None:
    result = to_json(broken)
    assert result["schema"] == "kedge.replay/1"
    assert {
        "ts",
        "onset",
        "domain",
        "stream",
        "column",
        "slice",
        "kind",
        "tier",
        "evidence",
    } <= set(result["alarms"][0])
    assert {"domain", "opened_at", "closed_at", "mode", "action", "alarms"} <= set(
        result["incidents"][0]
    )
    for domain in ("shop", "branch"):
        assert {"state", "difference", "ci", "rows", "slices"} <= set(result["transfer"][domain])
        assert {"mode", "confidence", "runner_up", "action"} <= set(result["diagnosis"][domain])
        budget = result["budget"][domain]
        assert {"allowed", "period", "spent", "realised", "guaranteed", "why_not"} <= set(budget)
        assert budget["realised"] == pytest.approx(budget["spent"], abs=0.01)
    times = [alarm["ts"] for alarm in result["alarms"]]
    assert times == sorted(times)
    json.dumps(result, allow_nan=False)


def test_the_text_fits_eighty_columns_and_gives_each_reason_once(by_rows: Replay) -> None:
    text = text_of(by_rows)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("no rate in time") == 1
    assert "no [1]" in text
    assert "row 1," in text


def test_file_content_is_never_read_as_markup() -> None:
    odd = Stream(domain="[red]x[/red]", rows_a_day=40)
    assert "[red]x[/red]" in text_of(run(odd, days=2))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    pq.write_table(history(SHOP, days=REFERENCE_DAYS, seed=1), folder / "reference.parquet")
    for name, days, fault in (
        ("quiet", 20, "none"),
        ("broken", 25, "label_rule"),
        ("short", 1, "none"),
    ):
        log = history(
            SHOP, days=days, seed=1, first_day=REFERENCE_DAYS, fault=fault, fault_day=REFERENCE_DAYS
        )
        pq.write_table(log, folder / f"{name}.parquet")
    new = history(replace(SHOP, domain="new"), days=1, seed=2, first_day=REFERENCE_DAYS)
    pq.write_table(new, folder / "new.parquet")
    return folder


@pytest.mark.parametrize(
    ("log", "code"), [("quiet", 0), ("broken", 3), ("new", 5)], ids=["fine", "drift", "too little"]
)
def test_the_exit_code_tells_what_was_found(files: Path, log: str, code: int) -> None:
    asked = [
        "--reference",
        str(files / "reference.parquet"),
        "--log",
        str(files / f"{log}.parquet"),
    ]
    told = CliRunner().invoke(
        replay_command, [*asked, "--tick", "1d", "--exit-code", "-o", "json"], standalone_mode=False
    )
    assert told.return_value == code
    assert json.loads(told.stdout)["schema"] == "kedge.replay/1"


def test_a_training_table_without_times_or_scores_may_be_the_reference(files: Path) -> None:
    """The log alone has what was named; the domain starts young and says so."""
    bare = pq.read_table(files / "reference.parquet")
    named = ["ts", "label_ts", "score", "baseline_score"]
    pq.write_table(bare.drop_columns(named), files / "training.parquet")
    asked = ["--reference", str(files / "training.parquet"), "--log", str(files / "quiet.parquet")]
    roles = ["--timestamp", "ts", "--score", "score", "--baseline-score", "baseline_score"]
    told = CliRunner().invoke(
        replay_command, [*asked, *roles, "--tick", "1d", "-o", "json"], standalone_mode=False
    )
    assert told.exception is None
    assert json.loads(told.stdout)["budget"]["shop"]["maturity"] == "guaranteed"


def test_a_role_that_neither_file_has_is_refused(files: Path) -> None:
    asked = ["--reference", str(files / "reference.parquet"), "--log", str(files / "quiet.parquet")]
    told = CliRunner().invoke(
        replay_command, [*asked, "--baseline-score", "baselin"], standalone_mode=False
    )
    assert isinstance(told.exception, UsageError)
    assert "--baseline-score baselin" in str(told.exception)
