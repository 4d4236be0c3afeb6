"""The one thing to do about each mode, at which scope and cadence, and what will show it worked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from detectors.records import Action, Mode

THIS_DOMAIN = "this domain"
ALL_DOMAINS = "all domains"

RECALIBRATE = "recalibrate"
REFIT_HEAD = "re-fit head"
FEATURES = "feature configuration"
VERIFY = "verify mapping by a human"
SCRATCH = "fall back to scratch"
PIPELINE = "fix the pipeline"
REFRESH = "refresh shared embeddings"
NOTHING = "none"


@dataclass(frozen=True, slots=True)
class _Row:
    kind: str
    cadence: str
    falsified_by: str
    retraining: bool = False
    scope: str = THIS_DOMAIN
    layer: str = ""
    stream: str = ""
    within_days: int = 0


LOSS = "loss.mean"
CALIBRATION = "calibration.in_the_large"
TRANSFER = "transfer.difference"
PROBE = "probe.loss"
"""No stream of rows: what each version of the model knows of the source probe."""

WRONG = "if not, the diagnosis was wrong"

_TABLE = {
    Mode.PIPELINE_FAULT: _Row(
        PIPELINE,
        "now",
        f"volume and label delay return to their reference within 1 day of the fix, "
        f"and the columns with them; {WRONG}. Retraining waits until then",
    ),
    Mode.FEATURE_ABSENT: _Row(
        FEATURES,
        "days to weeks",
        "loss.mean returns inside its margin within 7 days of re-fitting the head without "
        f"{{columns}}; {WRONG}",
        retraining=True,
        layer="head",
        stream=LOSS,
        within_days=7,
    ),
    Mode.SCHEMA_MISMATCH: _Row(
        VERIFY,
        "now",
        "the schema check of {columns} falls silent on the first tick after the mapping is "
        f"corrected, and loss.mean returns inside its margin within 3 days; {WRONG}",
    ),
    Mode.FORGETTING: _Row(
        REFIT_HEAD,
        "hours",
        "probe.loss, that of the source probe, returns inside its margin with the next version, "
        "fine-tuned with fewer layers free or with replay, within 7 days of serving it; "
        f"{WRONG}",
        retraining=True,
        layer="head",
        stream=PROBE,
        within_days=7,
    ),
    Mode.EMBEDDING: _Row(
        REFIT_HEAD,
        "days",
        "loss.mean returns inside its margin within 3 days of re-fitting the heads on the "
        f"embedding version now served, with versions pinned; {WRONG}",
        retraining=True,
        layer="head",
        stream=LOSS,
        within_days=3,
        scope=ALL_DOMAINS,
    ),
    Mode.STALE_EMBEDDINGS: _Row(
        REFRESH,
        "now",
        "the vectors of new rows are those of the version they name, none of them repeats an old "
        f"one more often than in the reference, and loss.mean returns inside its margin within 3 "
        f"days; {WRONG}",
        scope=ALL_DOMAINS,
    ),
    Mode.PRIOR_SHIFT: _Row(
        RECALIBRATE,
        "hours",
        "calibration.in_the_large returns inside ±0.05 within 3 days of correcting the "
        f"label rate, with loss.mean inside its margin; {WRONG}",
        retraining=True,
        layer="calibration",
        stream=CALIBRATION,
        within_days=3,
    ),
    Mode.LABEL_SEMANTICS: _Row(
        VERIFY,
        "days",
        "calibration.in_the_large and loss.mean return to their reference on cohorts labelled "
        f"after the label rule is agreed, within 7 days of it; {WRONG}. Do not recalibrate before",
    ),
    Mode.CONCEPT_SHIFT: _Row(
        REFIT_HEAD,
        "days to weeks",
        f"loss.mean returns inside its margin within 7 days of serving the re-fitted head; {WRONG}",
        retraining=True,
        layer="head",
        stream=LOSS,
        within_days=7,
    ),
    Mode.COVARIATE_SHIFT: _Row(
        REFIT_HEAD,
        "days to weeks",
        "loss.mean falls back inside its margin within 7 days of re-fitting on rows weighted "
        f"towards the new inputs; {WRONG}",
        retraining=True,
        layer="head",
        stream=LOSS,
        within_days=7,
    ),
    Mode.MISCALIBRATION: _Row(
        RECALIBRATE,
        "hours",
        f"calibration.in_the_large returns inside ±0.05 within 3 days of recalibrating; {WRONG}",
        retraining=True,
        layer="calibration",
        stream=CALIBRATION,
        within_days=3,
    ),
    Mode.NEGATIVE_TRANSFER: _Row(
        SCRATCH,
        "now",
        "loss.mean falls to the baseline's loss within 3 days of serving the baseline, and "
        f"transfer.difference turns to helps after the next fine-tuning; {WRONG}",
        retraining=True,
        layer="all",
        stream=TRANSFER,
        within_days=3,
    ),
    Mode.BENIGN: _Row(
        NOTHING,
        "quarters",
        "loss.mean stays inside its margin over the next 30 days; if it leaves, this drift was not "
        "benign. Re-baselining is on offer",
    ),
    Mode.NONE: _Row(
        NOTHING,
        "quarters",
        "no stream alarms over the next 30 days; if one does, something was missed",
    ),
    Mode.UNDETERMINED: _Row(
        NOTHING,
        "now",
        "a diagnosis follows once what the evidence asks for has arrived",
    ),
}

_UNSEEN_COVARIATE = _Row(
    NOTHING,
    "days",
    "loss.mean of these rows stays inside its margin when their labels come; if it leaves, re-fit "
    "the head on the new inputs",
)


def action_for(
    mode: Mode,
    *,
    slice_name: str = "",
    columns: tuple[str, ...] = (),
    losses_known: bool = True,
) -> Action:
    """The action of a mode, narrowed to a slice where only one is affected.

    Without labels a covariate shift asks for nothing yet: estimates alone never retrain a model.
    """
    row = _TABLE[mode]
    if mode is Mode.COVARIATE_SHIFT and not losses_known:
        row = _UNSEEN_COVARIATE
    if slice_name and row.scope == THIS_DOMAIN:
        row = replace(row, scope=f"slice {slice_name}")
    named = ", ".join(columns[:3]) or "the column"
    return Action(
        row.kind,
        row.scope,
        row.cadence,
        row.falsified_by.format(columns=named),
        row.retraining,
        row.layer,
        f"{row.stream}@{slice_name}" if row.stream and slice_name else row.stream,
        row.within_days,
    )
