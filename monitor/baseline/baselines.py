"""What makes cohorts comparable: each row's baseline loss, by the design of the model's baseline.

The pipeline hands every cohort of labels to a `Scorer` before it is summed. One for recorded
scores and arms is here; the one that trains a baseline itself is in trained.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from detectors.records import (
    BaselinePlan,
    Design,
    Schema,
    Settings,
    Task,
    TransferVerdict,
    Window,
)
from detectors.transfer.designs import with_contrast
from detectors.transfer.learning_curve import CurvePoint, learning_curve
from detectors.transfer.losses import VerdictLoss, check_loss
from detectors.transfer.signatures import Signature, SignatureFinding, curve_signature
from detectors.transfer.standing import (
    BaselineFacts,
    Standing,
    downgraded,
    standing_of,
    without_leaks,
)
from monitor.errors import UsageError
from storage.baselines import Baseline, BaselineSource

if TYPE_CHECKING:
    from monitor.rows.base import RowSource


class Scorer(Protocol):
    """Gives the rows of a cohort what the verdict reads, and says what the baseline is."""

    @property
    def facts(self) -> BaselineFacts | None:
        """The version in force after the cohorts scored so far; None: nothing on record."""
        ...

    @property
    def trouble(self) -> str:
        """Why it cannot score at present, "" while it can."""
        ...

    def cohort(
        self, pieces: Iterable[Window], rows: RowSource, start_us: int, end_us: int
    ) -> Iterator[tuple[Window, int]]:
        """The rows of [start_us, end_us) made comparable, and how many were left out of it."""
        ...


@dataclass(frozen=True, slots=True)
class RecordedScorer:
    """Baseline scores or arms that came with the rows. `centre` is the reference's mean loss.

    `columns` hold the baseline's class probabilities, where they are recorded.
    """

    plan: BaselinePlan
    task: Task
    centre: float
    versions: tuple[BaselineFacts, ...] = ()
    loss: VerdictLoss | None = None
    columns: tuple[str, ...] = ()

    @property
    def facts(self) -> BaselineFacts | None:
        """The newest version on record."""
        return max(self.versions, key=lambda facts: facts.version, default=None)

    @property
    def trouble(self) -> str:
        return "" if self.loss is None else self.loss.trouble

    def cohort(
        self, pieces: Iterable[Window], rows: RowSource, start_us: int, end_us: int
    ) -> Iterator[tuple[Window, int]]:
        """Each piece by itself: recorded scores need no other rows."""
        for piece in pieces:
            yield self.comparable(piece)

    def comparable(self, window: Window) -> tuple[Window, int]:
        """Rows the baseline was trained on lose its score; other designs make their contrast."""
        fair, left_out = without_leaks(window, self.versions, self.columns)
        made = with_contrast(fair, self.plan, task=self.task, centre=self.centre, loss=self.loss)
        return made, left_out


def refuse_loss(schema: Schema, settings: Settings) -> None:
    """Refuse a loss that the task, the design of the baseline or the columns do not have.

    Raises:
        UsageError: what was given and what would do.
    """
    try:
        check_loss(schema, settings)
    except ValueError as error:
        raise UsageError(str(error)) from error


def planned_schema(schema: Schema, plan: BaselinePlan) -> Schema:
    """The schema with or without a baseline as the plan wants it, whatever the rows record."""
    match plan.design:
        case Design.NONE:
            return replace(schema, has_baseline=False)
        case Design.AB | Design.INTERLEAVED | Design.TRAINED:
            return replace(schema, has_baseline=schema.has_label and schema.has_score)
    return schema


def facts_of(baselines: Sequence[Baseline], plan: BaselinePlan) -> tuple[BaselineFacts, ...]:
    """Registered versions as the verdict reads them: Kedge's own, or those of another system."""
    own = plan.design is Design.TRAINED
    return tuple(
        BaselineFacts(
            version=one.version,
            source=one.source.value,
            rows=one.rows,
            since_us=one.since_us,
            until_us=one.until_us,
            scores_from_us=one.scores_from_us,
            curve=tuple(CurvePoint(*point) for point in one.curve),
        )
        for one in baselines
        if (one.source is BaselineSource.TRAINED) is own
    )


def judged_against(
    verdict: TransferVerdict,
    facts: BaselineFacts | None,
    plan: BaselinePlan,
    *,
    now_us: int,
    left_out: int = 0,
    trouble: str = "",
) -> tuple[TransferVerdict, Standing]:
    """The verdict as this baseline allows it, with what was left out said in words."""
    standing = standing_of(facts, verdict, plan, now_us)
    lowered = downgraded(verdict, standing)
    words = lowered.words
    if left_out:
        words += f"; {left_out:,} rows the baseline was trained on are left out"
    if trouble:
        words += f"; {trouble}"
    return replace(lowered, words=words, left_out=left_out), standing


def curve_words(one: Baseline) -> list[str]:
    """What the curves of a version on record say, a line each."""
    lines = []
    curve = learning_curve([CurvePoint(*point) for point in one.curve])
    if curve is not None:
        lines.append(
            f"loss {curve.floor:.3g} + {curve.scale:.3g} · rows^-{curve.exponent:.2f}; twice the "
            f"rows would lower it by {100 * curve.gain:.1f} %"
        )
        low, high = curve.crossing_ci
        if curve.crossing is not None:
            spread = f"{low or 0:,.0f} to {'∞' if high is None else f'{high:,.0f}'}"
            lines.append(
                f"it matches the transferred model at about {curve.crossing:,.0f} rows "
                f"(95 % {spread})"
            )
        elif low is not None or high is not None:
            lines.append("at no number of rows does it match the transferred model")
    found = signature_of(one)
    if found is not None:
        lines.append(f"fine-tuning of the transferred model: {found.words}")
    return lines


def signature_of(one: Baseline) -> SignatureFinding | None:
    """What the transferred model's fine-tuning curve says; None where it is not on record."""
    import numpy as np

    if not one.fine_tuning:
        return None
    points = np.array(one.fine_tuning)
    best = min((point[2] for point in one.curve), default=None)
    return curve_signature(points[:, 0], points[:, 1], points[:, 2], best_scratch=best)


def signature_warnings(versions: Sequence[Baseline]) -> list[str]:
    """High bias or a wide gap of the newest curve on record, in words for a report."""
    found = [signature for one in versions if (signature := signature_of(one)) is not None]
    if not found or found[-1].signature is Signature.NEITHER:
        return []
    return [f"fine-tuning of the transferred model: {found[-1].words}"]
