"""Designs and the registry where they meet the pipeline: replay, the daemon, reports, the shell."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from detectors.records import DAY_US, BaselinePlan, Deployment, Design, Settings, TransferState
from monitor.baseline.baselines import facts_of
from monitor.cli.baseline import baseline as baseline_command
from monitor.cli.replay import replay as replay_command
from monitor.config import parse_config
from monitor.errors import InputError
from monitor.files.references import add_reference_table
from monitor.process.daemon import Service
from monitor.replaying.replay import Replay, replay, to_json
from storage.baselines import BaselineSource, add_baseline, baselines_of, list_baselines
from storage.deployments import register_model
from storage.engine import open_database
from storage.migrations import upgrade
from storage.references import Role
from tests.end_to_end.histories import START_US, as_table, history
from tests.end_to_end.test_daemon_is_replay import FixedClock, push
from tests.simulate import Stream, table
from tests.simulate import history as simulated

DAILY = Settings(tick_us=DAY_US)
SHOP = Stream(rows_a_day=120)


def two_arms(days: int, first_day: int, seed: int = 1) -> pa.Table:
    """Each row served by one model: the transferred's score, or the baseline's noisy one."""
    rows = simulated(SHOP, days=days, seed=seed, first_day=first_day)
    treated = np.random.default_rng(seed).random(rows.num_rows) < 0.5
    served = np.where(
        treated, rows.column("score").to_numpy(), rows.column("baseline_score").to_numpy()
    )
    arms = pa.array(np.where(treated, "new", "old"))
    rows = rows.drop_columns(["score", "baseline_score"])
    return rows.append_column("score", pa.array(served)).append_column("arm", arms)


def by_arms(plan: BaselinePlan) -> Replay:
    reference = table(two_arms(30, 0))
    log = table(two_arms(25, 30), like=reference)
    return replay(reference, log, replace(DAILY, baseline=plan))


def test_arms_are_held_against_each_other() -> None:
    """The simulated baseline is far worse than the transferred model, and the arms show it."""
    plan = BaselinePlan(Design.AB, treated="new", control="old")
    result = by_arms(plan)
    told = to_json(result)["transfer"]["shop"]
    assert told["state"] == "helps"
    assert told["design"] == "ab"
    assert "two arms serve different rows" in told["caveat"]
    swapped = by_arms(replace(plan, treated="old", control="new"))
    assert swapped.domains[0].verdict.state is TransferState.HURTS
    assert to_json(swapped)["gate"]["shop"]["state"] == "refused"


def test_arms_with_other_names_are_said_in_words() -> None:
    told = to_json(by_arms(BaselinePlan(Design.AB)))["transfer"]["shop"]
    assert told["state"] == "undetermined"
    assert "no row of arm 'transfer'; the arms seen are" in told["warnings"][0]


def test_without_a_baseline_by_choice_transfer_is_not_monitored() -> None:
    reference = table(simulated(SHOP, days=30, seed=1))
    log = table(simulated(SHOP, days=30, seed=1, first_day=30), like=reference)
    result = replay(reference, log, replace(DAILY, baseline=BaselinePlan(Design.NONE)))
    assert result.domains[0].verdict.state is TransferState.NOT_MONITORED


def test_the_command_takes_arms_and_refuses_one_name(tmp_path: Path) -> None:
    pq.write_table(two_arms(30, 0), tmp_path / "a.parquet")
    pq.write_table(two_arms(25, 30), tmp_path / "b.parquet")
    files = ["--reference", str(tmp_path / "a.parquet"), "--log", str(tmp_path / "b.parquet")]
    words = ["--tick", "1d", "--baseline", "ab", "--arms", "new,old", "-o", "json"]
    said = CliRunner().invoke(replay_command, [*files, *words], catch_exceptions=False)
    assert json.loads(said.stdout)["transfer"]["shop"]["design"] == "ab"
    wrong = CliRunner().invoke(replay_command, [*files, "--arms", "new"])
    assert "write two names" in str(wrong.exception)


# ---- the registry and the daemon


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Service:
    """A daemon with 30 reference days and 25 live days of two domains."""
    url = f"sqlite:///{tmp_path_factory.mktemp('watched') / 'k.db'}"
    model = {"tick": "1d", "label_delay": "2d", "lateness": "0s", "slices": [["plan"]]}
    config = parse_config({"service": {"database": url}, "models": {"churn": model}}, source="t")
    running = Service(config, FixedClock())
    add_reference_table(
        running.database,
        as_table(history(days=30, rows_a_day=120, seed=1)),
        model="churn",
        role=Role.ONBOARDING,
        domain=None,
        slices=(("plan",),),
        now=FixedClock().now(),
    )
    running.ingest.start()
    log = history(days=40, rows_a_day=120, seed=2, first_day=30)
    push(running, log, START_US + 30 * DAY_US, START_US + 72 * DAY_US)
    return running


def put(running: Service, **given: Any) -> int:
    """Register a version; its number."""
    fields = {
        "rows": 41_000,
        "since_us": 0,
        "until_us": START_US + 29 * DAY_US,
        "source": BaselineSource.IMPORTED,
        **given,
    }
    with running.database.write() as session:
        added = add_baseline(
            session,
            "churn",
            "north",
            now=FixedClock().now(),
            **fields,
        )
    running.references_changed()
    return added.version


def test_a_registered_baseline_is_named_judged_and_kept_from_its_own_rows(watched: Service) -> None:
    """Nothing on record, a sound version, one that saw half the live rows, an old one."""
    watched.check("churn")
    before = watched.report(Deployment("churn", "north"))
    assert before["transfer"]["state"] == "helps"
    assert before["transfer"]["baseline"] is None
    assert before["gate"]["state"] == "admitted"
    assert {line["loss"] for line in before["transfer"]["losses"]} == {"log loss", "Brier score"}
    assert before["transfer"]["auc"]["difference"] > 0.0

    version = put(watched)
    sound = watched.report(Deployment("churn", "north"))
    assert sound["transfer"]["state"] == "helps"
    words = sound["transfer"]["baseline"]["words"]
    assert words.startswith(f"baseline {version}, trained on 41,000 rows until ")
    assert words.endswith(" d old")

    put(watched, until_us=START_US + 50 * DAY_US)
    watched.runner.forget()
    with watched.database.write() as session:
        from storage.checkpoints import drop_checkpoint

        drop_checkpoint(session, Deployment("churn", "north"))
    watched.check("churn")
    leaking = watched.report(Deployment("churn", "north"))["transfer"]
    live = history(days=40, rows_a_day=120, seed=2, first_day=30)
    ts = live.column("ts").cast(pa.int64()).to_numpy()
    mine = np.asarray(live.column("domain")) == "north"
    inside = int((mine & (ts <= START_US + 50 * DAY_US)).sum())
    assert leaking["left_out"] == inside
    assert leaking["rows"] < before["transfer"]["rows"] - 0.9 * inside
    assert f"{inside:,} rows the baseline was trained on are left out" in leaking["words"]

    put(watched, fine_tuning=[[n, 0.3 - n / 10_000, 0.5] for n in (500, 1_000, 2_000)])
    tuned = watched.report(Deployment("churn", "north"))["transfer"]
    assert "it overfits; freeze more" in tuned["warnings"][-1]

    put(watched, since_us=0, until_us=DAY_US)
    old = watched.report(Deployment("churn", "north"))
    assert old["transfer"]["state"] == "undetermined"
    assert "stale, the limit is 365 d" in old["transfer"]["words"]
    assert old["gate"]["state"] == "probation"
    other = watched.report(Deployment("churn", "south"))
    assert other["transfer"]["baseline"] is None


def test_a_kind_of_baseline_that_there_is_not_is_refused_by_the_configuration() -> None:
    with pytest.raises(InputError, match=r"models\.m\.baseline\.kind.*'shadw'"):
        parse_config({"models": {"m": {"baseline": {"kind": "shadw"}}}}, source="t")


# ---- the command


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "kedge.toml"
    url = f"sqlite:///{tmp_path / 'k.db'}"
    path.write_text(f'[service]\ndatabase = "{url}"\n[models.churn]\n', encoding="utf-8")
    database = open_database(url)
    upgrade(database)
    with database.write() as session:
        register_model(session, "churn", FixedClock().now())
    database.close()
    return path


def said(config: Path, *words: str) -> str:
    call = [*words, "--config", str(config)]
    return CliRunner().invoke(baseline_command, call, catch_exceptions=False).output


def test_baselines_are_added_listed_and_shown(config: Path, tmp_path: Path) -> None:
    curve = [[n, 400, 0.4 + 2 / np.sqrt(n), 0.45] for n in np.geomspace(200, 9_000, 9).tolist()]
    tuning = [[n, 0.59, 0.6] for n in (500, 1_000, 2_000)]
    path = tmp_path / "curve.json"
    path.write_text(json.dumps({"curve": curve, "fine_tuning": tuning}), encoding="utf-8")
    times = ["--since", "2026-01-01", "--until", "2026-05-01T00:00:00Z"]
    model = ["--model", "churn", "--for-domain", "VT", "--rows", "41000"]
    line = "1  churn/VT  version 1  imported  41,000 rows  from 2026-01-01 to 2026-05-01\n"
    assert said(config, "add", *model, *times, "--curve", str(path)) == line
    assert said(config, "list", "--model", "churn") == line
    shown = said(config, "show", "1")
    assert "it matches the transferred model at about 1,600 rows" in shown
    assert "freeze less, or take another source" in shown
    assert "no baselines for model 'x'" in said(config, "list", "--model", "x")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--since", "2026-05-01", "--until", "2026-01-01"], "ends before it begins"),
        (["--since", "May"], "not a time; write it as"),
        (["--curve", "nothing.json"], "cannot be read"),
    ],
)
def test_what_cannot_be_put_on_record_is_one_line(
    config: Path, words: list[str], told: str
) -> None:
    call = ["add", "--model", "churn", "--rows", "5", *words, "--config", str(config)]
    ended = CliRunner().invoke(baseline_command, call)
    assert told in str(ended.exception)
    database = open_database(f"sqlite:///{config.parent / 'k.db'}")
    with database.read() as session:
        assert list_baselines(session) == ()
    database.close()


def test_versions_kedge_trained_are_not_taken_for_those_of_recorded_scores(
    watched: Service,
) -> None:
    put(watched, source=BaselineSource.TRAINED, rows=999)
    with watched.database.read() as session:
        kept = baselines_of(session, Deployment("churn", "north"))
    shadow, own = facts_of(kept, BaselinePlan()), facts_of(kept, BaselinePlan(Design.TRAINED))
    assert 999 not in {facts.rows for facts in shadow}
    assert [facts.rows for facts in own] == [999]
