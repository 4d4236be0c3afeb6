"""Which loss a model may be judged by, said in its section."""

from typing import Any

import pytest

from monitor.config import parse_config
from monitor.errors import InputError


def settings(**model: Any) -> Any:
    return parse_config({"models": {"m": model}}, source="kedge.toml").models["m"].settings()


def test_a_loss_and_its_quantile_reach_the_pure_core() -> None:
    told = settings(task="regression", loss="pinball:0.9")
    assert (told.loss, told.quantile) == ("pinball", 0.9)
    assert settings().loss == ""


def test_a_baseline_is_trained_for_many_classes_too() -> None:
    told = settings(task="multiclass", baseline={"kind": "trained"}, loss="brier")
    assert told.baseline.design == "trained"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"task": "regression", "loss": "brier"}, "squared, absolute, pinball"),
        ({"loss": "auc", "baseline": {"kind": "ab"}}, "it is for baseline.kind 'shadow', not 'ab'"),
        ({"loss": "bier"}, "no loss 'bier'; there is log, brier, auc, multiclass_log"),
        ({"task": "regression", "loss": "pinball:9"}, "a quantile lies between 0 and 1"),
    ],
)
def test_a_loss_that_does_not_fit_stops_the_start(model: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        settings(**model)
