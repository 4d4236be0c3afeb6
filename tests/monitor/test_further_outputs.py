"""Class probabilities, quantiles and an sd, from files and configuration to what people read."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from scipy.stats import norm

from detectors.records import Output, Says
from monitor.config import parse_config
from monitor.errors import InputError, UsageError
from monitor.reports.html import render_html
from monitor.reports.markdown import render_markdown
from monitor.reports.text import render_text
from tests.monitor.two_files import check, pair, report_of

NAMED = [f"--probability={name}=p_{name}" for name in ("cat", "dog", "owl")]


def pictures(seed: int, *, owls: float = 0.0, rows: int = 3_000) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0.0, 1.0, (rows, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = p * np.exp([0.0, 0.0, owls])
    true = (true / true.sum(axis=1, keepdims=True)).cumsum(axis=1)
    which = np.minimum((true < rng.random((rows, 1))).sum(axis=1), 2)
    named = {f"p_{name}": p[:, at] for at, name in enumerate(("cat", "dog", "owl"))}
    return {**named, "size": rng.normal(size=rows), "label": np.array(["cat", "dog", "owl"])[which]}


def houses(seed: int, *, wider: float = 1.0, rows: int = 4_000) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    mean, sigma = rng.normal(300.0, 80.0, rows), rng.uniform(10.0, 30.0, rows)
    return {
        "score": mean,
        "sigma": sigma,
        "q90": mean + norm.ppf(0.9) * sigma,
        "label": mean + wider * sigma * rng.normal(size=rows),
    }


def every_form(report: dict[str, Any]) -> tuple[str, str, str]:
    """The report as text, Markdown and HTML."""
    console = Console(file=StringIO(), width=400)
    render_text(report, console, everything=True)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue(), render_markdown(report), render_html(report)


def test_a_class_that_became_commoner_is_named_in_every_form(tmp_path: Path) -> None:
    files = pair(tmp_path, pictures(1), pictures(2, owls=0.7))
    report = report_of(*files, *NAMED)
    assert [column["name"] for column in report["columns"]] == ["size"]
    heads = {head["name"]: head for head in report["calibration"]["heads"]}
    assert heads.keys() == {"class cat", "class dog", "class owl"}
    assert heads["class owl"]["state"] == "drift"
    assert heads["class owl"]["observed_over_expected"] > 1.2
    assert report["calibration"]["state"] == "drift"
    for told in every_form(report):
        assert "class owl" in told
        assert "class probabilities" in told.lower()


def test_quantiles_and_an_sd_say_how_often_they_held_and_what_would_mend_them(
    tmp_path: Path,
) -> None:
    files = pair(tmp_path, houses(3), houses(4, wider=1.4))
    named = ["--task=regression", "--quantile=0.9=q90", "--sd=sigma"]
    report = report_of(*files, *named)
    calibration = report["calibration"]
    (quantile,) = [head for head in calibration["heads"] if head["says"] == "quantile"]
    assert quantile["observed"] == pytest.approx(norm.cdf(norm.ppf(0.9) / 1.4), abs=0.02)
    assert quantile["pinball"] > quantile["pinball_reference"]
    assert calibration["spread"]["mend"]["factor"] == pytest.approx(1.4, abs=0.05)
    assert calibration["spread"]["sd_reference"] == pytest.approx(1.0, abs=0.05)
    for told in every_form(report):
        assert "central 80 %" in told
        assert "would mend" in told


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--quantile=90=q90", "a level lies between 0 and 1"),
        ("--quantile=q90", "write NAME=COLUMN"),
        ("--probability=cat=p_cut", "no such column"),
    ],
)
def test_what_is_no_output_is_refused_in_words(tmp_path: Path, option: str, words: str) -> None:
    result = check(*pair(tmp_path, houses(5), houses(6)), option)
    assert isinstance(result.exception, UsageError)
    assert words in str(result.exception)


def test_the_configuration_names_outputs_of_the_right_task() -> None:
    config = parse_config(
        {"models": {"m": {"task": "regression", "quantiles": {"0.9": "q90"}, "sd": "s"}}},
        source="kedge.toml",
    )
    assert config.models["m"].outputs() == (
        Output("q90", Says.QUANTILE, "0.9"),
        Output("s", Says.SD),
    )
    for wrong, words in (
        ({"probabilities": {"cat": "p"}}, "a binary model has a score and no classes"),
        ({"task": "regression", "quantiles": {"2": "q"}}, "between 0 and 1"),
        ({"task": "regression", "quantiles": {"0.1": "q", "0.9": "q"}}, "two outputs"),
    ):
        with pytest.raises(InputError, match=words):
            parse_config({"models": {"m": wrong}}, source="kedge.toml")
