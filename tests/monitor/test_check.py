"""`kedge check` on small files: what it prints where, how it ends, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from monitor.errors import InputError, UsageError
from tests.monitor.two_files import check, pair, report_of, rows_of, save

REPORT_KEYS = {
    "schema",
    "model",
    "domain",
    "generated_at",
    "window",
    "references",
    "headline",
    "state",
    "transfer",
    "calibration",
    "predictions",
    "columns",
    "schema_checks",
    "performance",
    "diagnosis",
    "budget",
    "incidents",
}
COLUMN_KEYS = {
    "name",
    "kind",
    "state",
    "effect",
    "psi",
    "psi_noise_floor",
    "ks",
    "js",
    "wasserstein",
    "p_value",
    "null_share",
    "unseen_share",
    "rows",
    "bins",
}


def test_the_json_report_has_every_key_of_the_contract(tmp_path: Path) -> None:
    report = report_of(*pair(tmp_path, rows_of(seed=1), rows_of(seed=2)))

    assert report["schema"] == "kedge.report/1"
    assert report.keys() >= REPORT_KEYS
    assert report["window"] == {
        "since": None,
        "until": None,
        "rows": 600,
        "labelled": 600,
        "label_delay_hours": None,
    }
    assert report["transfer"].keys() >= {
        "state",
        "loss",
        "difference",
        "ci",
        "rows",
        "margin",
        "slices",
    }
    assert report["calibration"].keys() >= {
        "state",
        "observed_over_expected",
        "intercept",
        "slope",
        "ecce",
        "ece_debiased",
        "minimum_detectable",
        "curve",
        "slices",
    }
    assert [column["name"] for column in report["columns"]] == ["age", "job"]
    assert all(column.keys() >= COLUMN_KEYS for column in report["columns"])
    assert report["diagnosis"]["action"].keys() == {"kind", "scope", "cadence", "falsified_by"}
    assert report["budget"]["guaranteed"] is False
    assert report["budget"]["why_not"] == "single look, no time axis"


def test_numbers_agree_with_a_hand_count(tmp_path: Path) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2, shift=0.5)
    report = report_of(*pair(tmp_path, before, after))

    def loss(score: np.ndarray, label: np.ndarray) -> float:
        p = np.clip(score, 0.01, 0.99)
        return float(-np.mean(np.where(label == 1, np.log(p), np.log(1 - p))))

    ours, scratch = (loss(after[name], after["label"]) for name in ("score", "baseline_score"))
    assert report["performance"]["realised"]["log_loss"] == pytest.approx(ours)
    assert report["transfer"]["difference"] == pytest.approx(ours - scratch)
    assert report["labels"]["mean"] == pytest.approx(
        [before["label"].mean(), after["label"].mean()]
    )


def test_standard_output_is_json_alone_and_what_was_inferred_goes_to_standard_error(
    tmp_path: Path,
) -> None:
    result = check(*pair(tmp_path, rows_of(seed=1), rows_of(seed=2)), "-o", "json")

    assert result.stdout.lstrip().startswith("{")
    assert "inferred score = score" in result.stderr
    assert "inferred" not in result.stdout


def test_drift_ends_with_3_only_where_an_exit_code_is_asked_for(tmp_path: Path) -> None:
    arguments = pair(tmp_path, rows_of(seed=1), rows_of(seed=2, shift=1.5))

    assert report_of(*arguments)["state"] == "drift"
    assert check(*arguments).return_value == 0
    assert check(*arguments, "--exit-code").return_value == 3


def test_too_little_data_ends_with_5(tmp_path: Path) -> None:
    ages = np.sort(rows_of(60, seed=1)["age"])
    arguments = pair(tmp_path, {"age": ages}, {"age": ages[1::3]})

    assert report_of(*arguments)["state"] == "undetermined"
    assert check(*arguments, "--exit-code").return_value == 5


def test_like_windows_end_with_0(tmp_path: Path) -> None:
    arguments = pair(tmp_path, rows_of(12_000, seed=1), rows_of(12_000, seed=2))
    report = report_of(*arguments)

    assert report["state"] == "ok", report["headline"]
    assert check(*arguments, "--exit-code").return_value == 0


def test_a_model_that_became_worse_than_from_scratch_is_harm(tmp_path: Path) -> None:
    before, after = rows_of(seed=1), rows_of(2_000, seed=2)
    after["score"] = 1.0 - after["score"]
    report = report_of(*pair(tmp_path, before, after))

    assert report["transfer"]["state"] == "hurts"
    assert report["state"] == "harm"
    assert "transfer hurts" in report["headline"]


def test_each_domain_gets_a_report_and_one_that_only_one_file_has_is_named(
    tmp_path: Path,
) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2)
    before["region"] = ["north"] * 300 + ["south"] * 200 + ["west"] * 100
    after["region"] = ["north"] * 250 + ["south"] * 250 + ["east"] * 100
    arguments = [*pair(tmp_path, before, after), "--domain", "region"]
    found = report_of(*arguments)

    assert found["schema"] == "kedge.reports/1"
    assert [r["domain"] for r in found["reports"]] == ["north", "south"]
    assert [r["window"]["rows"] for r in found["reports"]] == [250, 250]
    assert [r["references"][0]["rows"] for r in found["reports"]] == [300, 200]
    assert found["absent"] == [
        {"domain": "east", "only_in": "current file", "rows": 100},
        {"domain": "west", "only_in": "reference", "rows": 100},
    ]
    text = check(*arguments).stdout
    assert "No report for 1 domain only in the current file: east (100 rows)" in text
    assert text.index("domain") < text.index("model / north")


def test_domains_that_share_no_name_are_held_against_the_whole_reference(tmp_path: Path) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2)
    before["site"], after["site"] = ["a"] * 600, ["b"] * 400 + ["c"] * 200
    arguments = [*pair(tmp_path, before, after), "--domain", "site"]

    assert [r["references"][0]["rows"] for r in report_of(*arguments)["reports"]] == [600, 600]
    assert "no domain is in both files" in check(*arguments).stderr


def test_rows_with_times_get_a_verdict_from_days(tmp_path: Path) -> None:
    before, after = rows_of(seed=1), rows_of(3_000, seed=2)
    start = np.datetime64("2026-01-01T00:00:00", "us")
    before["ts"] = start + np.arange(600) * np.timedelta64(1, "h")
    after["ts"] = start + np.timedelta64(60, "D") + np.arange(3_000) * np.timedelta64(15, "m")
    report = report_of(*pair(tmp_path, before, after))

    path = report["transfer"]["trajectory"]
    assert report["transfer"]["method"] == "tick-t"
    assert report["transfer"]["difference"] == pytest.approx(path[-1]["difference"])
    assert report["window"]["since"] == "2026-03-02T00:00:00Z"
    assert report["budget"]["why_not"].startswith("single look;")


def test_columns_in_common_none_is_a_schema_fault_and_no_crash(tmp_path: Path) -> None:
    before = {"age": rows_of()["age"]}
    result = check(*pair(tmp_path, before, {"height": rows_of()["age"]}), "--exit-code")

    assert result.return_value == 3
    assert "of 1 column: 1 missing" in result.stdout
    assert "not compared, because the reference does not have them: height" in result.stderr


def test_a_column_under_another_name_is_a_mapping_to_verify_and_not_an_absent_one(
    tmp_path: Path,
) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2)
    after["x7"] = after.pop("age")

    report = report_of(*pair(tmp_path, before, after))

    (missing,) = (c for c in report["schema_checks"] if c["check"] == "missing")
    assert missing["proposal"] == "`x7` is new, holds the same values and is probably `age`"
    assert report["diagnosis"]["mode"] == "schema mismatch"
    assert {column["name"] for column in report["columns"]} == {"age", "job"}

    del after["x7"]
    report = report_of(*pair(tmp_path, before, after))
    assert report["diagnosis"]["mode"] == "source feature absent"


def test_a_column_that_is_all_null_is_said_once(tmp_path: Path) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2)
    after["age"] = np.full(600, np.nan)
    report = report_of(*pair(tmp_path, before, after))
    text = check(*pair(tmp_path, before, after)).stdout

    assert "age" in {c["column"] for c in report["schema_checks"] if c["check"] == "all_null"}
    schema_line = next(line for line in text.splitlines() if line.strip().startswith("schema"))
    assert "`age` is null" in schema_line


def test_embeddings_are_one_more_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    before, after = rows_of(seed=1), rows_of(seed=2)
    before["embedding"] = list(rng.normal(size=(600, 8)).astype(np.float32))
    after["embedding"] = list(rng.normal(1.5, 1.0, size=(600, 8)).astype(np.float32))
    columns = report_of(*pair(tmp_path, before, after))["columns"]

    assert [c["state"] for c in columns if c["kind"] == "embedding"] == ["drift"]


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_other_tasks_work(tmp_path: Path, task: str) -> None:
    before, after = rows_of(seed=1), rows_of(seed=2)
    for table in (before, after):
        if task == "regression":
            table["label"] = 1_000.0 * table["score"] + table["age"]
            table["score"], table["baseline_score"] = table["label"] + 5.0, table["label"] - 9.0
        else:
            table["prediction"] = np.where(table["score"] > 0.5, "cat", "dog")
            table["label"] = np.where(table["label"] == 1, "cat", "dog")
            table["score"] = np.maximum(table["score"], 1.0 - table["score"])
            table["baseline_score"] = np.full(600, 0.6)
    report = report_of(*pair(tmp_path, before, after), "--task", task)

    realised = report["performance"]["realised"]
    if task == "regression":
        assert realised["mae"] == pytest.approx(5.0)
    else:
        right = (after["prediction"] == after["label"]).mean()
        assert realised["accuracy"] == pytest.approx(right)


@pytest.mark.parametrize(
    ("ending", "start"),
    [(".json", "{"), (".html", "<!doctype html>"), (".md", "# "), (".txt", "model / default")],
)
def test_the_ending_of_out_chooses_the_form(tmp_path: Path, ending: str, start: str) -> None:
    out = tmp_path / f"report{ending}"
    result = check(*pair(tmp_path, rows_of(seed=1), rows_of(seed=2)), "--out", str(out))

    assert result.exception is None
    assert result.stdout == ""
    assert out.read_text(encoding="utf-8").startswith(start)


def test_an_unknown_column_is_one_line_with_the_nearest_name(tmp_path: Path) -> None:
    result = check(*pair(tmp_path, rows_of(), rows_of(seed=2)), "--label", "lable")

    assert isinstance(result.exception, UsageError)
    assert "Did you mean 'label'?" in str(result.exception)
    assert "\n" not in str(result.exception)


def test_scores_outside_the_unit_interval_are_refused_with_row_and_value(tmp_path: Path) -> None:
    before, after = rows_of(), rows_of(seed=2)
    after["score"][7] = 1.5
    result = check(*pair(tmp_path, before, after))

    assert isinstance(result.exception, InputError)
    assert "score is 1.5 in row 7" in str(result.exception)


def test_text_asked_to_be_numbers_is_refused(tmp_path: Path) -> None:
    result = check(*pair(tmp_path, rows_of(), rows_of(seed=2)), "--numeric", "job")

    assert isinstance(result.exception, UsageError)
    assert "--numeric job" in str(result.exception)
    assert "--categorical" in str(result.exception)


def test_an_unwritable_out_is_refused(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "no" / "report.html")
    result = check(*pair(tmp_path, rows_of(), rows_of(seed=2)), "--out", nowhere)

    assert isinstance(result.exception, UsageError)
    assert "cannot be written" in str(result.exception)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.parquet", b"", "the file is empty"),
        ("cut.parquet", None, "cannot be read as Parquet"),
        ("header.csv", b"age,score\n", "no rows"),
        ("latin.csv", b"name\nJos\xe9\n", "no UTF-8"),
        ("rows.xlsx", b"PK", "unknown ending '.xlsx'"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(
    tmp_path: Path, name: str, content: bytes | None, says: str
) -> None:
    whole, broken = _whole_and_broken(tmp_path, name, content)
    result = check("--reference", str(whole), "--current", str(broken))

    assert isinstance(result.exception, InputError)
    assert says in str(result.exception)
    assert name in str(result.exception)
    assert "\n" not in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize(("name", "code"), [("cut.parquet", 1), ("lable", 2)])
def test_the_process_ends_with_one_line_and_its_exit_code(
    tmp_path: Path, name: str, code: int
) -> None:
    whole, broken = _whole_and_broken(tmp_path, "cut.parquet", None)
    arguments = ["--reference", str(whole), "--current", str(broken)]
    if code == 2:
        arguments = ["--reference", str(whole), "--current", str(whole), "--label", name]
    ended = subprocess.run(
        [sys.executable, "-m", "monitor", "check", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == code
    assert ended.stdout == ""
    assert len(ended.stderr.splitlines()) == 1
    assert name in ended.stderr


def _whole_and_broken(folder: Path, name: str, content: bytes | None) -> tuple[Path, Path]:
    """A good file, and one that holds `content` or else half of the good one."""
    whole = Path(save(folder / "whole.parquet", rows_of()))
    broken = folder / name
    broken.write_bytes(whole.read_bytes()[:2_000] if content is None else content)
    return whole, broken
