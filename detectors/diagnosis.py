"""One named cause for what was found, its runner-up, and the one thing to do about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from detectors.actions import action_for
from detectors.alignment.staleness import frozen, other_width
from detectors.findings.components import EMBEDDING
from detectors.findings.confidence import confidence_in
from detectors.findings.contrasts import FEWEST_ROWS, Contrasts, measure
from detectors.findings.decision import PLACED, decide_mode
from detectors.findings.ranking import SILENT, rank_modes
from detectors.findings.words import describe
from detectors.records import (
    Diagnosis,
    Finding,
    MappingProposal,
    Mode,
    Schema,
    State,
    Tier,
    TransferState,
    TransferVerdict,
    Window,
)
from detectors.schema import DETERMINISTIC, SchemaCheck, check_schema
from detectors.schema.check import ABSENT
from detectors.transfer.ladder import recovery_ladder
from detectors.volume import VOLUME

VOLUME_RATIO = 3.0
DELAY_RATIO = 3.0


@dataclass(frozen=True, slots=True)
class DiagnosisContext:
    """What is known besides the rows of the two windows.

    `findings` are those that fired. `volume_ratio` is rows per hour, current over reference;
    `label_delay_ratio` the median label delay, current over reference. `forgotten` says what the
    version served no longer knows of the source, `incompatible` why heads no longer fit its
    embedding, `stale` why its embeddings are old ones ("": looked for in the rows), `repair` which
    repair would be enough where transfer hurts ("": the recovery ladder is climbed on the current
    rows). `design_effect` widens every standard error of dependent rows.
    """

    findings: tuple[Finding, ...] = ()
    transfer: TransferVerdict | None = None
    many_columns_one_tick: bool = False
    volume_ratio: float | None = None
    label_delay_ratio: float | None = None
    version_changed: bool = False
    forgotten: str = ""
    incompatible: str = ""
    stale: str = ""
    repair: str = ""
    design_effect: float = 1.0
    seed: int = 0


def diagnose(
    reference: Window,
    current: Window,
    schema: Schema,
    context: DiagnosisContext,
    *,
    checks: tuple[SchemaCheck, ...] | None = None,
) -> Diagnosis:
    """Compare two windows and name the cause of what changed.

    Labels, scores and many rows are used where they are there; where they are missing the
    evidence says what is needed. `checks` are those of `check_schema` on these windows, where the
    caller has them already. The same windows and seed give the same diagnosis. Below a
    confidence of .6 the runner-up deserves to be shown beside the mode.
    """
    if checks is None:
        checks = check_schema(reference, current, schema)
    if min(reference.rows, current.rows) < FEWEST_ROWS:
        checks = tuple(check for check in checks if check.check in DETERMINISTIC | {ABSENT})
    contrasts = measure(
        reference,
        current,
        schema,
        checks=checks,
        design_effect=context.design_effect,
        seed=context.seed,
    )
    context = replace(
        context,
        stale=context.stale or frozen(reference, current),
        incompatible=context.incompatible or other_width(reference, current),
    )
    if harmed_slices(context.transfer) and not context.repair:
        ladder = recovery_ladder(current, task=schema.task)
        context = replace(context, repair=ladder.words if ladder and ladder.cheapest else "")
    return conclude(contrasts, context)


def conclude(contrasts: Contrasts, context: DiagnosisContext) -> Diagnosis:
    """The diagnosis of measured contrasts: the decision, its words, its action."""
    anomalies = pipeline_anomalies(context)
    harmed = harmed_slices(context.transfer)
    mode, runner_up = decide_mode(
        contrasts,
        pipeline_fault=bool(anomalies),
        forgotten=bool(context.forgotten),
        incompatible=bool(context.incompatible),
        stale=bool(context.stale),
        transfer_hurts=bool(harmed),
    )
    headline = (context.transfer.words,) if harmed and context.transfer else ()
    release = (
        ("the served version changed inside this window: compare with that release first",)
        if context.version_changed
        else ()
    )
    versions = (context.stale, context.forgotten, context.incompatible)
    # A benefit that goes is no change that two windows show: its own stream has the words.
    eroded = tuple(f.detail for f in context.findings if f.stream == "transfer.erosion")
    repair = context.repair if harmed else ""
    outside = (*headline, repair, *anomalies, *versions, *eroded, *release)
    columns = _columns(contrasts, mode)
    return Diagnosis(
        mode=mode,
        confidence=confidence_in(mode, contrasts, runner_up),
        runner_up=runner_up,
        evidence=tuple(filter(None, (*outside, *describe(contrasts, mode)))),
        action=action_for(
            mode,
            slice_name=_slice(context.findings, harmed, mode),
            columns=columns,
            losses_known=contrasts.has_labels,
        ),
        columns=columns,
        mappings=_mappings(contrasts, mode),
        candidates=() if mode in SILENT else rank_modes(contrasts, mode, runner_up),
        loss=contrasts.loss,
    )


def pipeline_anomalies(context: DiagnosisContext) -> tuple[str, ...]:
    """Sentences about the data path itself; any of them makes a data-pipeline fault."""
    said = []
    if context.many_columns_one_tick:
        names = sorted({f.column for f in context.findings if f.column})
        which = f": {', '.join(names[:5])}" if names else ""
        said.append(f"many columns changed within one tick{which}")
    fallen = [f.detail for f in context.findings if _tells_volume(f)]
    if fallen:
        said += fallen
    elif context.volume_ratio is not None and not (
        1 / VOLUME_RATIO <= context.volume_ratio <= VOLUME_RATIO
    ):
        said.append(f"{context.volume_ratio:.2g} times the usual volume")
    if context.label_delay_ratio is not None and not (
        1 / DELAY_RATIO <= context.label_delay_ratio <= DELAY_RATIO
    ):
        said.append(
            f"labels take {context.label_delay_ratio:.2g} times as long as in the reference"
        )
    return tuple(said)


def _tells_volume(finding: Finding) -> bool:
    """Whether a finding is a change of volume in its own words, and one that is told."""
    told = finding.kind == "drift" and finding.tier is not Tier.LOG
    return told and finding.stream == VOLUME


def harmed_slices(transfer: TransferVerdict | None) -> tuple[str, ...]:
    """Where the transferred model loses to the baseline: ("",) for everywhere, or slice names."""
    if transfer is None:
        return ()
    if transfer.state is TransferState.HURTS:
        return ("",)
    return tuple(name for name, part in transfer.slices if part.state is TransferState.HURTS)


def _slice(findings: Iterable[Finding], harmed: tuple[str, ...], mode: Mode) -> str:
    """The one slice everything points at, or "" for the whole domain."""
    if mode is Mode.NEGATIVE_TRANSFER:
        named = set(harmed)
    else:
        named = {finding.slice for finding in findings}
    return named.pop() if len(named) == 1 else ""


def _mappings(contrasts: Contrasts, mode: Mode) -> tuple[MappingProposal, ...]:
    """What a person should say yes or no to; not what is only to be watched."""
    if mode not in {Mode.FEATURE_ABSENT, Mode.SCHEMA_MISMATCH}:
        return ()
    return tuple(
        MappingProposal(entry, f"{check.detail} ({check.proposal})")
        for check in (*contrasts.absent, *contrasts.mismatched)
        if check.state is State.DRIFT
        for entry in check.mapping
    )


def _columns(contrasts: Contrasts, mode: Mode) -> tuple[str, ...]:
    """Columns a person should look at, most telling first."""
    if mode is Mode.FEATURE_ABSENT:
        named = [check.column for check in contrasts.absent]
    elif mode is Mode.SCHEMA_MISMATCH:
        named = [check.column for check in contrasts.mismatched]
    elif mode in {Mode.EMBEDDING, Mode.STALE_EMBEDDINGS}:
        named = [EMBEDDING]
    elif mode is Mode.CONCEPT_SHIFT:
        sure = contrasts.region_z >= PLACED
        column = contrasts.region_column if sure else contrasts.local_column
        named = [column] if column else []
    elif mode in {Mode.COVARIATE_SHIFT, Mode.BENIGN}:
        named = list(contrasts.carriers)
    else:
        named = []
    return tuple(dict.fromkeys(named))
