"""The nouns of Kedge, frozen. Read this file first; everything else passes these around.

Times inside columns are int64 microseconds since 1970-01-01 UTC (`_us`); times in records
that people read are aware UTC datetimes. A missing number is NaN, a missing category is code
-1, and nothing else means missing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
CodeArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]

MOST_KEPT_COLUMNS = 50
"""Of the columns that a schema lacks so many are kept at a time, the first by name."""

T = TypeVar("T", bound=np.generic)

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


class Task(StrEnum):
    """What the model predicts; it decides the loss and what calibration means."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"


class Design(StrEnum):
    """How the baseline's loss becomes known beside the transferred model's."""

    SHADOW = "shadow"
    AB = "ab"
    INTERLEAVED = "interleaved"
    TRAINED = "trained"
    NONE = "none"


class CalibratedTo(StrEnum):
    """What scores are held to: what they meant in the reference, or what comes true."""

    REFERENCE = "reference"
    OUTCOMES = "outcomes"


class Kind(StrEnum):
    """What a feature column holds."""

    NUMERIC = "numeric"
    CATEGORICAL = "categorical"


class State(StrEnum):
    """The answer to one question of a report."""

    OK = "ok"
    WATCH = "watch"
    DRIFT = "drift"
    HARM = "harm"
    UNDETERMINED = "undetermined"
    NOT_MONITORED = "not_monitored"


class TransferState(StrEnum):
    """The answer to "does the transferred model beat the from-scratch baseline here?"."""

    HELPS = "helps"
    NEUTRAL = "neutral"
    HURTS = "hurts"
    UNDETERMINED = "undetermined"
    NOT_MONITORED = "not_monitored"


class Tier(StrEnum):
    """How an alarm reaches people: wakes someone, files a ticket, or is only kept."""

    PAGE = "page"
    TICKET = "ticket"
    LOG = "log"


class Maturity(StrEnum):
    """How far a young domain has come before its false-alarm budget is promised."""

    WARMING = "warming"
    PROVISIONAL = "provisional"
    GUARANTEED = "guaranteed"


@dataclass(frozen=True, slots=True, order=True)
class Deployment:
    """A (model, domain) pair: the unit that is monitored and budgeted."""

    model: str
    domain: str

    def __str__(self) -> str:
        return f"{self.model}/{self.domain}"


@dataclass(frozen=True, slots=True)
class ColumnSpec:
    """A feature column by name and kind."""

    name: str
    kind: Kind


class Says(StrEnum):
    """What a column of a model's further outputs means; a baseline's stands beside them."""

    CLASS = "class"
    BASELINE_CLASS = "baseline_class"
    QUANTILE = "quantile"
    SD = "sd"


@dataclass(frozen=True, slots=True)
class Output:
    """A numeric column that the model gives beside its score.

    `of` is the class whose probability it is, the model's own or the baseline's, or the level of a
    quantile as text; an sd has none.
    """

    column: str
    says: Says
    of: str = ""

    @property
    def level(self) -> float:
        """The level of a quantile, between 0 and 1."""
        return float(self.of)


@dataclass(frozen=True, slots=True)
class Schema:
    """Which feature columns a model has, what it predicts, and how its rows are sliced.

    `slices` holds column names; ("origin",) makes one slice a value of `origin`, and
    ("origin", "engine") one a pair of values. `outputs` are no features: they are recorded like
    numeric columns, and judged with the score.
    """

    task: Task
    columns: tuple[ColumnSpec, ...]
    slices: tuple[tuple[str, ...], ...] = ()
    has_score: bool = True
    has_baseline: bool = True
    has_label: bool = True
    embedding_dim: int = 0
    outputs: tuple[Output, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes whose probabilities are recorded, in order; () where none is."""
        return tuple(one.of for one in self.outputs if one.says is Says.CLASS)

    @property
    def recorded(self) -> Self:
        """The schema of rows as they are sent: outputs stand among the numeric columns."""
        more = tuple(ColumnSpec(one.column, Kind.NUMERIC) for one in self.outputs)
        return replace(self, columns=(*self.columns, *more), outputs=())

    @property
    def numeric(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.kind is Kind.NUMERIC)

    @property
    def categorical(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns if c.kind is Kind.CATEGORICAL)


@dataclass(frozen=True, slots=True, eq=False)
class Categories:
    """A column of categories: codes (n,) into `values`; -1 is null."""

    codes: CodeArray
    values: tuple[str, ...]

    def take(self, rows: IntArray | BoolArray | slice) -> Categories:
        return Categories(self.codes[rows], self.values)

    def strings(self) -> NDArray[np.object_]:
        """The column as (n,) Python strings, None where null. For small windows only."""
        lookup = np.array([*self.values, None], dtype=object)
        taken: NDArray[np.object_] = lookup[self.codes]
        return taken


def concat_categories(parts: Sequence[Categories]) -> Categories:
    """Join columns whose vocabularies may differ, keeping first-seen order."""
    if not parts:
        return Categories(np.empty(0, np.int32), ())
    index: dict[str, int] = {}
    codes = []
    for part in parts:
        mapping = np.array(
            [*(index.setdefault(value, len(index)) for value in part.values), -1], dtype=np.int32
        )
        codes.append(mapping[part.codes])
    return Categories(np.concatenate(codes), tuple(index))


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Rows as columns. Every array is (n,); `embedding` is (n, d); None means not recorded.

    `weight` is 1 / inclusion probability. `label` is NaN where no label has come.
    `head_score` and `full_score` are those of a re-fitted head and of a fully fine-tuned model, for
    the recovery ladder; NaN where such a model was trained on the row or has not scored it.
    `contrast` (n, 2) holds loss difference and baseline loss where a design other than paired
    scores gives them; it is made when rows are judged and never stored.
    For a binary task `score` is P(label = 1); for regression it is the predicted value;
    for multiclass it is the probability of the predicted class (top-label) and `prediction`
    holds that class, `label` being 1 where the predicted class was right. `truth` is the class
    that was right, where it is known by name.
    """

    rows: int
    ts_us: IntArray | None = None
    score: FloatArray | None = None
    baseline_score: FloatArray | None = None
    label: FloatArray | None = None
    label_ts_us: IntArray | None = None
    prediction: Categories | None = None
    truth: Categories | None = None
    weight: FloatArray | None = None
    numeric: Mapping[str, FloatArray] = field(default_factory=dict)
    categorical: Mapping[str, Categories] = field(default_factory=dict)
    domain: Categories | None = None
    version: Categories | None = None
    arm: Categories | None = None
    cluster: Categories | None = None
    embedding: NDArray[np.float32] | None = None
    contrast: FloatArray | None = None
    head_score: FloatArray | None = None
    full_score: FloatArray | None = None

    def take(self, rows: IntArray | BoolArray | slice) -> Window:
        """The rows at an index, mask or slice, in that order."""

        def pick(array: NDArray[T] | None) -> NDArray[T] | None:
            return None if array is None else array[rows]

        def pick_codes(column: Categories | None) -> Categories | None:
            return None if column is None else column.take(rows)

        picked = np.arange(self.rows)[rows]
        return Window(
            rows=len(picked),
            ts_us=pick(self.ts_us),
            score=pick(self.score),
            baseline_score=pick(self.baseline_score),
            label=pick(self.label),
            label_ts_us=pick(self.label_ts_us),
            prediction=pick_codes(self.prediction),
            truth=pick_codes(self.truth),
            weight=pick(self.weight),
            numeric={name: column[rows] for name, column in self.numeric.items()},
            categorical={name: column.take(rows) for name, column in self.categorical.items()},
            domain=pick_codes(self.domain),
            version=pick_codes(self.version),
            arm=pick_codes(self.arm),
            cluster=pick_codes(self.cluster),
            embedding=pick(self.embedding),
            contrast=pick(self.contrast),
            head_score=pick(self.head_score),
            full_score=pick(self.full_score),
        )

    def weights(self) -> FloatArray:
        """`weight`, or ones where rows were not sampled."""
        return np.ones(self.rows) if self.weight is None else self.weight

    def known_by(self, instant_us: int) -> Self:
        """The same rows with labels that came after `instant_us` taken away again."""
        if self.label is None or self.label_ts_us is None:
            return self
        return replace(self, label=np.where(self.label_ts_us <= instant_us, self.label, np.nan))


def concat_windows(parts: Iterable[Window]) -> Window:
    """Join windows row after row. A column that only some parts have becomes null elsewhere."""
    windows = list(parts)
    filled = [window for window in windows if window.rows]
    if len(filled) == 1:
        return filled[0]
    if not filled:
        return windows[0] if windows else Window(rows=0)
    total = sum(window.rows for window in filled)

    def floats(pick: Sequence[FloatArray | None]) -> FloatArray | None:
        if all(array is None for array in pick):
            return None
        return np.concatenate(
            [
                np.full(window.rows, np.nan) if array is None else array
                for window, array in zip(filled, pick, strict=True)
            ]
        )

    def ints(pick: Sequence[IntArray | None]) -> IntArray | None:
        present = [array for array in pick if array is not None]
        return np.concatenate(present) if len(present) == len(filled) else None

    def codes(pick: Sequence[Categories | None]) -> Categories | None:
        if all(column is None for column in pick):
            return None
        return concat_categories(
            [
                Categories(np.full(window.rows, -1, np.int32), ()) if column is None else column
                for window, column in zip(filled, pick, strict=True)
            ]
        )

    numeric_names = dict.fromkeys(name for window in filled for name in window.numeric)
    category_names = dict.fromkeys(name for window in filled for name in window.categorical)
    numeric = {
        name: floats([window.numeric.get(name) for window in filled]) for name in numeric_names
    }
    categorical = {
        name: codes([window.categorical.get(name) for window in filled]) for name in category_names
    }
    weighted = any(window.weight is not None for window in filled)
    embeddings = [window.embedding for window in filled if window.embedding is not None]
    contrasts = [window.contrast for window in filled if window.contrast is not None]
    return Window(
        rows=total,
        ts_us=ints([window.ts_us for window in filled]),
        score=floats([window.score for window in filled]),
        baseline_score=floats([window.baseline_score for window in filled]),
        label=floats([window.label for window in filled]),
        label_ts_us=ints([window.label_ts_us for window in filled]),
        prediction=codes([window.prediction for window in filled]),
        truth=codes([window.truth for window in filled]),
        weight=np.concatenate([window.weights() for window in filled]) if weighted else None,
        numeric={name: column for name, column in numeric.items() if column is not None},
        categorical={name: column for name, column in categorical.items() if column is not None},
        domain=codes([window.domain for window in filled]),
        version=codes([window.version for window in filled]),
        arm=codes([window.arm for window in filled]),
        cluster=codes([window.cluster for window in filled]),
        embedding=np.concatenate(embeddings) if len(embeddings) == len(filled) else None,
        contrast=np.concatenate(contrasts) if len(contrasts) == len(filled) else None,
        head_score=floats([window.head_score for window in filled]),
        full_score=floats([window.full_score for window in filled]),
    )


@dataclass(frozen=True, slots=True)
class Budget:
    """How many false alarms a deployment may raise per period: the one knob."""

    pages: float = 1.0
    period_hours: float = 720.0
    ticket_factor: float = 10.0

    def threshold_hours(self, tier: Tier) -> float:
        """A of METHODS section 0, in hours: evidence at which a stream of this tier alarms."""
        factor = self.ticket_factor if tier is Tier.TICKET else 1.0
        return self.period_hours / (self.pages * factor)


@dataclass(frozen=True, slots=True)
class NamedDetector:
    """One of river's detectors, switched on for one signal ("score", "loss" or a column)."""

    method: str
    signal: str
    options: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BaselinePlan:
    """Where the baseline comes from, and when it is too weak to compare with.

    `design` None: shadow where baseline scores are recorded. `treated` and `control` name the arms
    of the transferred model and of the baseline; the chance of the first is `share`, or what the
    numeric column `propensity` says of each row. A baseline trained on fewer than `least_rows`
    rows or older than `max_age_us` decides nothing. `seed`, `most_rows`, `fit_seconds` and
    `fit_mebibytes` are for the one Kedge trains itself.
    """

    design: Design | None = None
    treated: str = "transfer"
    control: str = "baseline"
    share: float = 0.5
    propensity: str = ""
    least_rows: int = 500
    max_age_us: int = 365 * DAY_US
    seed: int = 0
    most_rows: int = 20_000
    fit_seconds: int = 120
    fit_mebibytes: int = 2_048


@dataclass(frozen=True, slots=True)
class Settings:
    """How one model's deployments are judged. `tick_us` None lets the back-test choose.

    `label_delay_us` None takes the .95 quantile of label delay in the reference.
    `review_us` is the time from the first judged cohort to the planned review; None means
    open-ended (anytime-valid interval instead of the planned-review test). `peers` lets domains
    that move together be held against each other. `slow` is what slow-change tickets may cost;
    None: they are off. `volume` is the factor by which a day's rows must fall or rise to file a
    ticket; 0: they are not followed. `loss` is what the transfer verdict is a difference of
    (detectors/transfer/losses.py), "" the task's own; pinball loss is that of `quantile`.
    """

    budget: Budget = Budget()
    tick_us: int | None = None
    tick_rows: int | None = None
    lateness_us: int = HOUR_US
    label_delay_us: int | None = None
    review_us: int | None = None
    margin: float = 0.01
    alpha: float = 0.04
    holidays: str | None = None
    named: tuple[NamedDetector, ...] = ()
    baseline: BaselinePlan = BaselinePlan()
    loss: str = ""
    quantile: float = 0.5
    calibration: CalibratedTo = CalibratedTo.REFERENCE
    peers: bool = True
    slow: Budget | None = Budget(pages=3.0, ticket_factor=1.0)
    volume: float = 2.0


@dataclass(frozen=True, slots=True)
class Stream:
    """One followed number: statistic x column or signal x slice. `slice` "" is all rows.

    `view` is how it is looked at: "" as it is, "peers" less what its peers show, "slow" against a
    level that hardly moves.
    """

    signal: str
    statistic: str
    tier: Tier
    column: str = ""
    slice: str = ""
    view: str = ""

    @property
    def id(self) -> str:
        what = f"{self.signal}.{self.statistic}"
        column = f":{self.column}" if self.column else ""
        slice_ = f"@{self.slice}" if self.slice else ""
        return f"{what}{column}{slice_}~{self.view}" if self.view else f"{what}{column}{slice_}"


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """A stream with its share of its tier's budget and the smallest effect that matters.

    `weight` sums to at most 1 over the streams of a tier. `delta_min` is in the units of the
    stream's statistic y: a level shift below it must never alarm, however many rows there are.
    """

    stream: Stream
    weight: float
    delta_min: float


@dataclass(frozen=True, slots=True)
class Finding:
    """What a detector saw at one instant of event time.

    kind: "drift" (budgeted evidence), "schema" (deterministic, outside the budget),
    "verdict" (transfer) or the name of a river detector. `evidence` is M / A for budgeted
    evidence (alarm at 1), 1.0 for deterministic checks. `effect` is in units of the
    statistic (log odds for shares, reference sd for means), signed.
    """

    kind: str
    ts: datetime
    onset: datetime
    stream: str
    tier: Tier
    column: str = ""
    slice: str = ""
    evidence: float = 1.0
    effect: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class MappingEntry:
    """How a feature of the source, or one category of it, is written in a domain.

    `column` and `category` are the source's names ("" is the whole column), `domain_column` and
    `domain_category` the domain's ("" for the column: the same name). A number in the domain is
    `scale` times the source's plus `offset`. `missing` is what the domain writes for a missing
    value; `absent` says that the domain has no such feature.
    """

    column: str
    category: str = ""
    domain_column: str = ""
    domain_category: str = ""
    scale: float = 1.0
    offset: float = 0.0
    missing: str = ""
    absent: bool = False

    @property
    def here(self) -> str:
        """What the column is called in the domain."""
        return self.domain_column or self.column

    @property
    def key(self) -> tuple[str, str]:
        """What the entry is about: a column, or a category of it. Versions are counted by it."""
        return self.column, self.category

    @property
    def is_identity(self) -> bool:
        """Whether the domain writes this exactly as the source does."""
        plain = self.scale == 1.0 and self.offset == 0.0 and not self.missing and not self.absent
        return plain and self.here == self.column and self.category == self.domain_category

    @property
    def words(self) -> str:
        """What the entry says, from the domain to the source."""
        if self.absent:
            return f"`{self.column}` is not there"
        if self.is_identity:
            what = f"`{self.category}` of `{self.column}`" if self.category else f"`{self.column}`"
            return f"{what} is written as in the source"
        if self.category:
            return f"`{self.domain_category}` of `{self.here}` is the source's `{self.category}`"
        if self.missing:
            return f"{self.missing} in `{self.here}` stands for a missing value"
        said = f"`{self.here}` is the source's `{self.column}`"
        if self.scale != 1.0:
            larger = self.scale > 1.0
            factor = self.scale if larger else 1.0 / self.scale
            said += f" {'×' if larger else '÷'} {factor:,.10g}"
        if self.offset:
            said += f" {'+' if self.offset > 0 else '-'} {abs(self.offset):,.10g}"
        return said


@dataclass(frozen=True, slots=True)
class AppliedMapping:
    """An approved entry and the event time from which rows are written that way; None: always."""

    id: str
    entry: MappingEntry
    since_us: int | None = None


@dataclass(frozen=True, slots=True)
class MappingProposal:
    """A mapping that the rows suggest, and what suggests it: for a person to look at."""

    entry: MappingEntry
    evidence: str


class Mode(StrEnum):
    """What is wrong, in one name. The order is that of the decision list."""

    PIPELINE_FAULT = "data-pipeline fault"
    FEATURE_ABSENT = "source feature absent"
    SCHEMA_MISMATCH = "schema mismatch"
    FORGETTING = "catastrophic forgetting"
    EMBEDDING = "embedding incompatibility"
    STALE_EMBEDDINGS = "stale shared embeddings"
    PRIOR_SHIFT = "prior shift"
    LABEL_SEMANTICS = "conflicting label semantics"
    CONCEPT_SHIFT = "concept shift"
    COVARIATE_SHIFT = "covariate shift"
    MISCALIBRATION = "mere miscalibration"
    NEGATIVE_TRANSFER = "negative transfer"
    BENIGN = "benign drift"
    NONE = "no problem"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True, slots=True)
class Action:
    """The one thing to do, at which scope and cadence, and what will show that it worked.

    `layer` is what of the model is trained. `falsified_by` in figures: `stream` is back inside its
    margin within `within_days` of serving the result; "" where no stream that is followed can say.
    """

    kind: str
    scope: str
    cadence: str
    falsified_by: str
    retraining: bool = False
    layer: str = ""
    stream: str = ""
    within_days: int = 0


@dataclass(frozen=True, slots=True)
class LossChange:
    """Why the mean loss changed, in three steps that add up, each with a .95 interval.

    `inputs`: more of the harder inputs both windows have; `concept`: another loss on the same
    inputs; `unseen`: inputs the reference hardly has. `unit` is what was drawn again for the
    intervals: "days" where both windows have enough of them, else "rows". `columns` says by how
    much the loss would have changed had only the mix of that column moved, the largest first;
    columns overlap, so these do not add up.
    """

    before: float
    after: float
    inputs: float
    concept: float
    unseen: float
    inputs_ci: tuple[float, float]
    concept_ci: tuple[float, float]
    unseen_ci: tuple[float, float]
    unit: str
    columns: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One named cause with its evidence, the runner-up, and one action.

    `candidates` are up to three modes, the named one first, for when faults come together.
    """

    mode: Mode
    confidence: float
    runner_up: Mode | None
    evidence: tuple[str, ...]
    action: Action
    columns: tuple[str, ...] = ()
    mappings: tuple[MappingProposal, ...] = ()
    candidates: tuple[Mode, ...] = ()
    loss: LossChange | None = None


@dataclass(frozen=True, slots=True)
class TransferVerdict:
    """Does the transferred model beat the from-scratch baseline on the same rows?

    `difference` is mean loss(transferred) - mean loss(baseline): below 0 helps. `ci` is the
    anytime-valid interval, None bounds are infinite. `margin` is absolute, in loss units.
    `bound` is what a planned review says of the difference: at least (hurts) or at most (helps)
    this, at the error it may spend so far; None where no review spoke. `se` is the standard
    error of the difference, `minimum_detectable` the harm (loss units) that would have been called
    by now with power .8. `left_out` counts rows that the baseline was trained on. `rows_alone` is
    what would be said if the baseline were fit to compare with. `suspect` marks a slice that hurts
    by an interval not corrected for the number of slices.
    """

    state: TransferState
    loss: str
    difference: float | None
    ci: tuple[float | None, float | None]
    rows: int
    margin: float | None
    rows_needed: int | None = None
    method: str = "tick-t"
    so_far: bool = False
    decided_at: datetime | None = None
    baseline_loss: float | None = None
    words: str = ""
    slices: tuple[tuple[str, TransferVerdict], ...] = ()
    bound: float | None = None
    se: float | None = None
    minimum_detectable: float | None = None
    design: Design = Design.SHADOW
    caveat: str = ""
    left_out: int = 0
    rows_alone: TransferState | None = None
    suspect: bool = False


def to_datetime(instant_us: int) -> datetime:
    """Microseconds since 1970 UTC as an aware datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(instant_us))


def to_us(instant: datetime) -> int:
    """An aware datetime as microseconds since 1970 UTC; refuses one without a zone."""
    if instant.tzinfo is None:
        msg = f"a time without a zone: {instant.isoformat()}; write it with Z or an offset"
        raise ValueError(msg)
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
