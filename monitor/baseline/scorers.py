"""Opening the scorer a model's baseline asks for, and saving the one that learns."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from detectors.records import Design, Window
from detectors.transfer.class_losses import baseline_columns
from detectors.transfer.standing import BaselineFacts
from monitor.baseline.baselines import RecordedScorer, Scorer
from monitor.watching.watch import Watch, mean_loss
from storage.baselines import BaselineSource, add_baseline, save_state


def open_scorer(
    watch: Watch,
    reference: Window | None,
    *,
    versions: tuple[BaselineFacts, ...] = (),
    stored: bytes | None = None,
) -> Scorer:
    """The scorer of a deployment. `reference` holds its own reference rows, None if it has none.

    `versions` are on record; `stored` is the saved state of a baseline that Kedge trains.
    """
    plan = watch.settings.baseline
    if plan.design is Design.TRAINED and watch.schema.has_baseline:
        from monitor.baseline.trained import TrainedScorer

        return TrainedScorer.open(
            watch.schema,
            plan,
            reference,
            chunk_us=watch.cohort_us,
            delay_us=watch.label_delay_us,
            loss=watch.loss,
            stored=stored,
        )
    centre = mean_loss(watch.reference, watch.schema)
    columns = baseline_columns(watch.schema)
    return RecordedScorer(plan, watch.schema.task, centre, versions, watch.loss, columns)


def save_scorer(session: Session, watch: Watch, scorer: Scorer | None, now: datetime) -> None:
    """Keep what a trained baseline has learnt, in the transaction of the check that moved it."""
    if scorer is None or isinstance(scorer, RecordedScorer):
        return
    from monitor.baseline.trained import TrainedScorer

    if not isinstance(scorer, TrainedScorer) or not scorer.moved:
        return
    deployment, state = watch.deployment, scorer.state
    save_state(session, deployment, fingerprint=watch.fingerprint, body=state.to_bytes(), now=now)
    if state.fits > scorer.saved_fits and state.network is not None:
        add_baseline(
            session,
            deployment.model,
            deployment.domain,
            source=BaselineSource.TRAINED,
            rows=state.trained,
            since_us=state.since_us,
            until_us=state.last_us,
            curve=[(p.trained, p.rows, p.loss, p.transferred) for p in state.curve],
            note=f"trained by Kedge, fit {state.fits}: {state.network.arm.value}",
            now=now,
            announce=False,
        )


def mark_saved(scorer: Scorer | None) -> None:
    """What `save_scorer` wrote has been committed."""
    if scorer is None or isinstance(scorer, RecordedScorer):
        return
    from monitor.baseline.trained import TrainedScorer

    if isinstance(scorer, TrainedScorer):
        scorer.moved, scorer.saved_fits = False, scorer.state.fits
