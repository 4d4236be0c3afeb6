"""Checks of one model: load what is stored, let time move on, save it all in one transaction.

Between loading and saving nothing is locked, so ingest goes on; saving fails loudly if another
process (checkpoint epoch) or a person (incident) was faster, and the work is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import structlog
from sqlalchemy.orm import Session

from alerts.mappings import MappingStatus, in_force
from alerts.records import Decision, Incident, IncidentKind
from alerts.routing import RoutingTable
from alerts.settings import AlertSettings
from detectors.evidence.peers import FEWEST_DOMAINS
from detectors.profile import Profile
from detectors.records import (
    DAY_US,
    HOUR_US,
    AppliedMapping,
    Deployment,
    Design,
    Finding,
    Schema,
    Settings,
    Tier,
    Window,
    concat_windows,
    to_datetime,
)
from detectors.summary import TickSummary
from detectors.transfer.losses import own_loss
from monitor.baseline.baselines import Scorer, facts_of, planned_schema
from monitor.baseline.scorers import mark_saved, open_scorer, save_scorer
from monitor.clock import Clock
from monitor.oncall.dispatch import post
from monitor.reports.forms import verdict_json
from monitor.rows.base import RowSource
from monitor.rows.stored import CACHED_ROWS, ModelRows, StoredRows
from monitor.rows.translated import in_source_terms
from monitor.watching.aftermath import Rebase
from monitor.watching.alignment import version_facts
from monitor.watching.day_words import by_day_json
from monitor.watching.fleet import Fleet, fleet_of
from monitor.watching.fleet_watch import (
    FleetWatch,
    fleet_fingerprint,
    judge_fleet,
    open_fleet_watch,
    step_fleet,
)
from monitor.watching.forecast_watch import described, followed_slices
from monitor.watching.in_step import in_step
from monitor.watching.judgement import Ledger, Step, current_verdict, judge, standing_verdict
from monitor.watching.lender import Lender
from monitor.watching.lending import Lending
from monitor.watching.named import run_lengths
from monitor.watching.newcomers import open_newcomers
from monitor.watching.pipeline import (
    Evaluation,
    Lend,
    add_cohort,
    evaluate,
    open_progress,
)
from monitor.watching.progress import Progress
from monitor.watching.reference_ticks import ClockName
from monitor.watching.standing import followed_streams, streams_summary
from monitor.watching.verdict_versions import late_labels, next_versions, revised_days
from monitor.watching.watch import Watch, open_watch
from storage.baselines import baselines_of, load_state
from storage.checkpoints import load_checkpoint, save_checkpoint
from storage.deployments import (
    DeploymentState,
    latest_event_us,
    list_deployments,
    set_evaluated,
)
from storage.engine import Database
from storage.findings import save_findings
from storage.incidents import (
    UnknownIncidentError,
    get_incident,
    list_incidents,
    open_incidents,
    save_incidents,
)
from storage.mappings import MappingExistsError, add_versions, list_mappings, mappings_of
from storage.references import (
    Reference,
    ReferenceStatus,
    Role,
    active_reference,
    add_reference,
    list_references,
    load_profile,
    load_reference_rows,
    save_profile,
)
from storage.retraining import add_request, list_requests, save_judged
from storage.summaries import Clock as SummaryClock
from storage.summaries import StoredSummary, read_summaries, save_summaries

log = structlog.get_logger()

INSTANTS_A_SAVE = 400
INSTANTS_A_PARTY = 50
LEARNING_US = 2 * DAY_US


class ChangedMeanwhileError(RuntimeError):
    """A person changed an incident while a check that changes it was running."""


@dataclass(slots=True, eq=False)
class _Loaded:
    """A deployment held in memory between checks, valid at `epoch`."""

    watch: Watch
    progress: Progress
    epoch: int
    versions: list[dict[str, Any]] = field(default_factory=list)


@dataclass(slots=True, eq=False)
class _OnTheWay:
    """A deployment between loading and saving; a `Party` of those that move in step."""

    state: DeploymentState
    held: _Loaded
    rows: RowSource
    until_us: int
    steps: list[Step] = field(default_factory=list)

    @property
    def domain(self) -> str:
        return self.state.deployment.domain

    @property
    def watch(self) -> Watch:
        return self.held.watch

    @property
    def progress(self) -> Progress:
        return self.held.progress


@dataclass(slots=True, eq=False)
class Runner:
    """Checks every deployment of a model. One per process; not shared between threads.

    `guard` is called at the start of each transaction that saves what a check found, and may
    raise to undo it. `stopped` ends a check after what it is saving now; the next goes on there.
    `moved` is called for every instant that is evaluated: a sign of life.
    """

    database: Database
    settings_of: Callable[[str], Settings]
    schema_of: Callable[[str], Schema | None]
    routing: Callable[[], RoutingTable]
    clock: Clock
    alerts: AlertSettings = field(default_factory=AlertSettings)
    guard: Callable[[Session], None] = lambda _: None
    stopped: Callable[[], bool] = lambda: False
    moved: Callable[[], None] = lambda: None
    _held: dict[Deployment, _Loaded] = field(default_factory=dict)
    _viewed: dict[Deployment, tuple[Watch, Window]] = field(default_factory=dict)
    _lending: dict[str, Lending] = field(default_factory=dict)
    _fleets: dict[str, Fleet] = field(default_factory=dict)
    _fleet_watches: dict[str, tuple[FleetWatch | None, int]] = field(default_factory=dict)
    _first_us: dict[Deployment, int | None] = field(default_factory=dict)
    _sources: dict[Deployment, RowSource] = field(default_factory=dict)
    _shared: ModelRows | None = None

    def check_model(self, model: str, *, flush: bool = False) -> int:
        """Evaluate what the model's watermark has passed; the number of instants judged."""
        settings = self.settings_of(model)
        with self.database.read() as session:
            latest = latest_event_us(session, model)
            states = [s for s in list_deployments(session, model) if s.first_event_us is not None]
            approved = list_mappings(session, model=model, status=MappingStatus.APPROVED)
        if latest is None:
            return 0
        self._first_us = {s.deployment: s.first_event_us for s in states}
        watermark_us = latest + 1 if flush else latest - settings.lateness_us
        shared = ModelRows(self.database, model)
        judged = 0
        for state in states:
            mine = [one for one in approved if one.deployment == state.deployment]
            self._drop_if_remapped(state.deployment, in_force(mine))
        for since_us, until_us in _spans(states, settings, watermark_us):
            # What a span holds in memory is read once for all domains, so they go side by side.
            ends = flush and until_us == watermark_us
            shared.plan(since_us, until_us + (DAY_US if ends else 0))
            if self.stopped():
                return judged
            judged += self._check_together(states, shared, until_us, flush=ends)
            self._check_fleet(model, until_us)
        return judged

    def forget(self, model: str | None = None) -> None:
        """Drop what is held in memory, after a reload or a new reference."""
        self._held = {d: held for d, held in self._held.items() if model not in {None, d.model}}
        self._viewed.clear()
        self._lending.clear()
        self._fleets.clear()
        self._fleet_watches.clear()

    def view(self, state: DeploymentState) -> tuple[Watch, Window, list[TickSummary]] | None:
        """For reports: a deployment's fixed side, its reference rows, and its judged cohorts.

        None while there is neither a reference nor two days of rows to learn one from.
        """
        deployment = state.deployment
        with self.database.read() as session:
            self._drop_if_remapped(deployment, in_force(mappings_of(session, deployment)))
        if deployment not in self._viewed:
            watermark_us = state.last_event_us or 0
            opened = self._open_watch(deployment, state, watermark_us)
            if opened is None:
                return None
            watch, reference = opened
            self._viewed[deployment] = (watch, watch.reference if reference is None else reference)
        watch, reference = self._viewed[deployment]
        since_us = (state.status or {}).get("first_live_us")
        days = [] if since_us is None else self._read_cohorts(watch, since_us)
        return watch, reference, days

    def _drop_if_remapped(
        self, deployment: Deployment, mappings: tuple[AppliedMapping, ...]
    ) -> None:
        """Open a deployment again whose rows are to be read by other mappings than before."""
        held = self._held.get(deployment)
        if held is not None and held.watch.mappings != mappings:
            del self._held[deployment]
            self._fleets.pop(deployment.model, None)
            self._fleet_watches.pop(deployment.model, None)
        viewed = self._viewed.get(deployment)
        if viewed is not None and viewed[0].mappings != mappings:
            del self._viewed[deployment]

    def _check_together(
        self,
        states: Sequence[DeploymentState],
        shared: ModelRows,
        watermark_us: int,
        *,
        flush: bool,
    ) -> int:
        """Take deployments to the watermark, those that are held against each other in step."""
        judged = 0
        waiting = list(states)
        self._shared, self._sources = shared, {}
        while waiting and not self.stopped():
            opened = [self._party(state, watermark_us) for state in waiting]
            parties = [party for party in opened if party is not None]
            of_fleet = (p.watch for p in parties if p.watch.live_since_us is None)
            fleet = next(map(self._fleet, of_fleet), None)
            waiting = []
            for group in _in_groups(parties):
                instants, unfinished = self._advance(group, fleet, flush=flush)
                judged += instants
                waiting += [party.state for party in unfinished]
        return judged

    def _check_fleet(self, model: str, watermark_us: int) -> None:
        """Judge the days of the fleet as a whole that the watermark has passed."""
        fleet, deployment = self._fleets.get(model), Deployment(model, "")
        if fleet is None or self.stopped():
            return
        found = self._fleet_watches.get(model) or self._load_fleet(fleet)
        self._fleet_watches[model] = found
        watch, epoch = found
        if watch is None:
            return
        ledger = self._ledger(deployment)
        findings: list[Finding] = []
        decisions: list[Decision] = []
        days = 0
        try:
            for now_us, seen in step_fleet(watch, fleet, watermark_us=watermark_us):
                self.moved()
                days += 1
                findings += seen
                decisions += judge_fleet(watch, model, seen, ledger, now_us, self.alerts)
            if not days:
                return
            changed = {one.id: one for decision in decisions for one in decision.incidents}
            now = self.clock.now()
            with self.database.write() as session:
                self.guard(session)
                for incident in changed.values():
                    self._refuse_if_touched(session, incident)
                epoch = save_checkpoint(
                    session,
                    deployment,
                    epoch=epoch,
                    fingerprint=watch.fingerprint,
                    evaluated_until_us=watch.clock.next_us or 0,
                    body=watch.to_bytes(),
                    now=now,
                )
                save_findings(session, deployment, findings)
                save_incidents(session, changed.values())
                for decision in decisions:
                    for message in decision.messages:
                        post(session, message, self.routing(), now)
            self._fleet_watches[model] = (watch, epoch)
        except BaseException:
            self._fleet_watches.pop(model, None)
            raise

    def _load_fleet(self, fleet: Fleet) -> tuple[FleetWatch | None, int]:
        """The fleet as a whole as it was saved, or begun anew where its references are others."""
        with self.database.read() as session:
            stored = load_checkpoint(session, Deployment(fleet.model, ""))
        if stored is not None and stored.fingerprint == fleet_fingerprint(fleet):
            return FleetWatch.from_bytes(stored.body, stored.fingerprint), stored.epoch
        watch = open_fleet_watch(fleet)
        if watch is not None and stored is not None:
            # What was judged by other references is not judged again.
            watch.clock.next_us = max(watch.clock.next_us or 0, stored.evaluated_until_us)
        return watch, 0 if stored is None else stored.epoch

    def _party(self, state: DeploymentState, watermark_us: int) -> _OnTheWay | None:
        """A deployment as it goes on from where it stands; None while nothing is known of it."""
        held = self._held.get(state.deployment) or self._load(state, watermark_us)
        rows = self._rows_of(state.deployment)
        if held is None or rows is None:
            return None
        self._held[state.deployment] = held
        return _OnTheWay(state, held, rows, watermark_us)

    def _advance(
        self, group: Sequence[_OnTheWay], fleet: Fleet | None, *, flush: bool
    ) -> tuple[int, list[_OnTheWay]]:
        """A bounded number of steps over a group, saved; and who has not reached the end."""
        most = max(INSTANTS_A_SAVE, INSTANTS_A_PARTY * len(group))
        ledgers = {party.domain: self._ledger(party.state.deployment) for party in group}
        taken = 0
        try:
            for party, evaluation in in_step(group, flush=flush, fleet=fleet):
                self.moved()
                step = judge(
                    party.watch,
                    party.progress,
                    evaluation,
                    party.rows,
                    ledgers[party.domain],
                    alerts=self.alerts,
                )
                party.steps.append(step)
                taken += 1
                if step.rebase is not None or taken >= most:
                    break
            else:
                return self._save_all(group), []
            return self._save_all(group), list(group)
        except BaseException:
            # Progress has moved past what is stored: the next check loads it again.
            for party in group:
                self._held.pop(party.state.deployment, None)
            raise

    def _save_all(self, group: Sequence[_OnTheWay]) -> int:
        """Save what each of a group has brought; the number of instants."""
        for party in group:
            steps, held = party.steps, party.held
            if any(s.evaluation.cohort_day_closed or s.evaluation.ended for s in steps):
                held.versions = self._versions(held, party.rows)
            if steps:
                self._save(held, steps, party.rows)
                if steps[-1].rebase is not None:
                    self._held.pop(party.state.deployment, None)
                    self._viewed.pop(party.state.deployment, None)
        return sum(len(party.steps) for party in group)

    def _versions(self, held: _Loaded, rows: RowSource) -> list[dict[str, Any]]:
        """The verdict's versions, one more where late labels have changed it."""
        watch, progress = held.watch, held.progress
        if not watch.schema.has_baseline or not progress.cohort_days:
            return held.versions
        assert progress.evaluated_until_us is not None
        days, scorer = progress.cohort_days, progress.scorer
        revised = revised_days(watch, days, rows, scorer, held.versions)
        judged, again = (
            current_verdict(watch, one, ended=False, scorer=scorer, left_out=progress.left_out)
            for one in (days, revised)
        )
        now = to_datetime(progress.evaluated_until_us)
        return next_versions(held.versions, judged, again, late_labels(days, revised), now=now)

    def _moving(self, evaluations: Iterable[Evaluation]) -> Iterator[Evaluation]:
        for evaluation in evaluations:
            self.moved()
            yield evaluation

    def _ledger(self, deployment: Deployment) -> Ledger:
        with self.database.read() as session:
            incidents = open_incidents(session, deployment)
            recent = list_incidents(
                session,
                model=deployment.model,
                domain=deployment.domain,
                kinds=[IncidentKind.DRIFT],
                limit=50,
            )
            requests = list_requests(session, deployment, limit=50)
            mappings = mappings_of(session, deployment)
        return Ledger(
            incidents={incident.id: incident for incident in (*recent, *incidents)},
            requests={request.id: request for request in requests},
            mappings={version.id: version for version in mappings},
        )

    def _load(self, state: DeploymentState, watermark_us: int) -> _Loaded | None:
        """Watch and progress from SQL; a progress that does not fit its Watch is rebuilt."""
        deployment = state.deployment
        opened = self._open_watch(deployment, state, watermark_us)
        if opened is None:
            return None
        watch, reference = opened
        versions = list((state.status or {}).get("verdict_versions", []))
        with self.database.read() as session:
            stored = load_checkpoint(session, deployment)
        scorer = self._scorer(watch, reference)
        if stored is None:
            fleet = self._fleet(watch)
            progress = open_progress(watch, reference, self._lend(watch, state), fleet)
            progress.scorer = scorer
            return _Loaded(watch, progress, 0, versions)
        if stored.fingerprint == watch.fingerprint:
            progress = Progress.from_bytes(stored.body)
            # A build that followed fewer newcomers, or did not say what forecasts are, saved less.
            if progress.newcomers is None:
                progress.newcomers = open_newcomers(watch)
            if progress.forecast_watch is not None:
                described(progress.forecast_watch, watch)
            progress.scorer = scorer
            progress.cohort_days = self._cohort_days(watch, progress)
            return _Loaded(watch, progress, stored.epoch, versions)
        scorer = self._scorer(watch, reference, afresh=True)
        lend, fleet = self._lend(watch, state), self._fleet(watch)
        progress = self._rebuild(watch, reference, stored.evaluated_until_us, scorer, lend, fleet)
        return _Loaded(watch, progress, stored.epoch, versions)

    def _scorer(self, watch: Watch, reference: Window | None, *, afresh: bool = False) -> Scorer:
        """What makes this deployment's cohorts comparable, as it was saved or `afresh`."""
        with self.database.read() as session:
            found = baselines_of(session, watch.deployment)
            versions = facts_of(found, watch.settings.baseline)
            stored = None if afresh else load_state(session, watch.deployment, watch.fingerprint)
        return open_scorer(watch, reference, versions=versions, stored=stored)

    def _open_watch(
        self, deployment: Deployment, state: DeploymentState, watermark_us: int
    ) -> tuple[Watch, Window | None] | None:
        """The fixed side, and the reference rows where they are the domain's own."""
        settings = self.settings_of(deployment.model)
        with self.database.read() as session:
            found = active_reference(session, deployment, Role.RECENT)
            recent = found is not None and found.domain == deployment.domain
            if not recent:
                found = active_reference(session, deployment, Role.ONBOARDING)
            own = found is not None and found.domain == deployment.domain
            if found is None:
                found = active_reference(session, deployment, Role.SOURCE)
            stored_profile: bytes | None = None
            if found is not None:
                reference = load_reference_rows(session, found.id)
                stored_profile = load_profile(session, found.id)
            mappings = in_force(mappings_of(session, deployment))
        schema = self.schema_of(deployment.model)
        if schema is None:
            return None
        schema = planned_schema(schema, settings.baseline)
        if found is None:
            learnt = self._first_rows(deployment, state, watermark_us)
            if learnt is None:
                return None
            reference = learnt
        profile = _usable(stored_profile, schema, settings)
        watch = open_watch(
            deployment,
            schema,
            settings,
            reference=reference,
            own_reference=own,
            profile=profile,
            mappings=mappings,
            live_since_us=_live_since(found) if recent else None,
        )
        with self.database.read() as session:
            facts = version_facts(session, deployment.model, schema.task)
        watch = replace(watch, versions=facts)
        if found is not None and profile is None:
            with self.database.write() as session:
                save_profile(
                    session,
                    found.id,
                    watch.profile.fingerprint,
                    watch.profile.to_bytes(),
                    self.clock.now(),
                )
        return watch, reference if own else None

    def _first_rows(
        self, deployment: Deployment, state: DeploymentState, watermark_us: int
    ) -> Window | None:
        """Without any reference, cells are cut from the first 48 hours once these have passed."""
        assert state.first_event_us is not None
        until_us = state.first_event_us + LEARNING_US
        if until_us > watermark_us:
            return None
        stored = StoredRows(self.database, deployment, ModelRows(self.database, deployment.model))
        schema = self.schema_of(deployment.model)
        rows = in_source_terms(stored, (), () if schema is None else schema.classes)
        pieces = list(rows.rows(state.first_event_us, until_us, labels_by_us=until_us))
        return pieces[0] if len(pieces) == 1 else None

    def _lend(self, watch: Watch, state: DeploymentState) -> Lend | None:
        """What older domains lend this one by their onboarding references; see `lending.py`.

        A re-based domain has a past of its own and borrows nothing.
        """
        model = watch.deployment.model
        if watch.live_since_us is not None or state.first_event_us is None:
            return None
        known = self._known(model)
        lending = self._lending.get(model)
        if lending is None or (lending.schema, lending.settings) != (watch.schema, watch.settings):
            lending = Lending(model, watch.schema, watch.settings, self._reference_rows)
            self._lending[model] = lending
        return lending.to(watch.deployment.domain, state.first_event_us, known)

    def _known(self, model: str) -> list[Lender]:
        """The onboarding references of a model's domains that have times."""
        with self.database.read() as session:
            found = list_references(session, model)
        return [
            Lender(one.id, one.domain, one.since_us, one.until_us)
            for one in found
            if one.role is Role.ONBOARDING
            and one.status is not ReferenceStatus.PENDING
            and one.domain is not None
            and one.since_us is not None
            and one.until_us is not None
        ]

    def _fleet(self, watch: Watch) -> Fleet | None:
        """The domains that this one may be held against; None for a model of fewer than three.

        A re-based domain has no past in common with them.
        """
        model = watch.deployment.model
        if watch.live_since_us is not None or not watch.settings.peers:
            return None
        known = fleet_of(self._known(model))
        if len(known) < FEWEST_DOMAINS:
            return None
        fleet = self._fleets.get(model)
        if fleet is None or (fleet.schema, fleet.settings, fleet.known) != (
            watch.schema,
            watch.settings,
            known,
        ):
            fleet = Fleet(
                model=model,
                schema=watch.schema,
                settings=watch.settings,
                known=known,
                load=self._reference_rows,
                rows=lambda domain: self._rows_of(Deployment(model, domain)),
                first_live_us=lambda domain: self._first_us.get(Deployment(model, domain)),
                progress=lambda domain: self._progress_of(Deployment(model, domain)),
                profile=lambda key: self._stored_profile(int(key), watch.schema, watch.settings),
            )
            self._fleets[model] = fleet
            self._fleet_watches.pop(model, None)
        return fleet

    def _rows_of(self, deployment: Deployment) -> RowSource | None:
        """Live rows of a deployment in the terms of its reference, as this check reads them."""
        if deployment not in self._first_us:
            return None
        if deployment not in self._sources:
            with self.database.read() as session:
                mappings = in_force(mappings_of(session, deployment))
            shared = self._shared or ModelRows(self.database, deployment.model)
            schema = self.schema_of(deployment.model)
            self._sources[deployment] = in_source_terms(
                StoredRows(self.database, deployment, shared),
                mappings,
                () if schema is None else schema.classes,
            )
        return self._sources[deployment]

    def _progress_of(self, deployment: Deployment) -> Progress | None:
        held = self._held.get(deployment)
        return None if held is None else held.progress

    def _stored_profile(
        self, reference_id: int, schema: Schema, settings: Settings
    ) -> Profile | None:
        with self.database.read() as session:
            return _usable(load_profile(session, reference_id), schema, settings)

    def _reference_rows(self, reference_id: int | str) -> Window:
        with self.database.read() as session:
            return load_reference_rows(session, int(reference_id))

    def _rebuild(
        self,
        watch: Watch,
        reference: Window | None,
        until_us: int,
        scorer: Scorer,
        lend: Lend | None,
        fleet: Fleet | None,
    ) -> Progress:
        """Replay stored rows under a new fingerprint. Nothing is emitted for what was evaluated."""
        progress = open_progress(watch, reference, lend, fleet)
        progress.scorer = scorer
        stored = StoredRows(
            self.database, watch.deployment, ModelRows(self.database, watch.deployment.model)
        )
        rows = in_source_terms(stored, watch.mappings, watch.schema.classes)
        found: list[Finding] = []
        instants = 0
        evaluations = evaluate(watch, progress, rows, watermark_us=until_us, fleet=fleet)
        for evaluation in self._moving(evaluations):
            instants += 1
            found += [replace(finding, tier=Tier.LOG) for finding in evaluation.findings]
        with self.database.write() as session:
            self.guard(session)
            save_findings(session, watch.deployment, found)
        log.info("checkpoint.rebuilt", deployment=str(watch.deployment), instants=instants)
        return progress

    def _cohort_days(self, watch: Watch, progress: Progress) -> list[TickSummary]:
        """Days of judged cohorts, from their stored summaries."""
        if not watch.label_specs or progress.first_live_us is None:
            return []
        return self._read_cohorts(watch, progress.first_live_us)

    def _read_cohorts(self, watch: Watch, since_us: int) -> list[TickSummary]:
        days: list[TickSummary] = []
        with self.database.read() as session:
            stored = read_summaries(
                session,
                watch.deployment,
                SummaryClock.LABEL,
                watch.profile.fingerprint,
                tick_us=watch.base_tick_us,
                since_us=since_us // DAY_US * DAY_US,
            )
            for summary in stored:
                add_cohort(days, TickSummary.from_bytes(summary.body), cohort_us=watch.cohort_us)
        return days

    def _save(self, held: _Loaded, steps: Sequence[Step], rows: RowSource) -> None:
        """Checkpoint, summaries, findings, incidents, requests and messages, or none of them."""
        watch, progress = held.watch, held.progress
        deployment, now = watch.deployment, self.clock.now()
        assert progress.evaluated_until_us is not None
        status = self._status(watch, progress, steps) | {"verdict_versions": held.versions}
        rebase, fresh = steps[-1].rebase, None
        if rebase is not None:
            until_us = steps[-1].evaluation.instant_us
            fresh = concat_windows(
                list(rows.rows(rebase.since_us, rebase.until_us, labels_by_us=until_us))
            )
        with self.database.write() as session:
            self.guard(session)
            changed = _changed(steps)
            for incident in changed:
                self._refuse_if_touched(session, incident)
            epoch = save_checkpoint(
                session,
                deployment,
                epoch=held.epoch,
                fingerprint=watch.fingerprint,
                evaluated_until_us=progress.evaluated_until_us,
                body=progress.to_bytes(),
                now=now,
            )
            save_summaries(session, deployment, _summaries(watch, steps))
            save_scorer(session, watch, progress.scorer, now)
            save_findings(session, deployment, [f for step in steps for f in step.findings])
            save_incidents(session, changed)
            for step in steps:
                try:
                    add_versions(session, step.mappings)
                except MappingExistsError as error:
                    raise ChangedMeanwhileError(str(error)) from error
                for request in step.requests:
                    add_request(session, request)
                for request in step.judged:
                    save_judged(session, request)
                for message in step.messages:
                    post(session, message, self.routing(), now)
            if rebase is not None and fresh is not None:
                self._add_rebased(session, watch, rebase, fresh, steps[-1].evaluation.instant_us)
            set_evaluated(
                session,
                deployment,
                evaluated_until_us=progress.feature.next_us,
                cohort_evaluated_until_us=progress.label.next_us if watch.label_specs else None,
                status=status,
            )
        held.epoch = epoch
        mark_saved(progress.scorer)
        findings = sum(len(step.findings) for step in steps)
        log.info(
            "deployment.checked",
            deployment=str(deployment),
            instants=len(steps),
            findings=findings,
            until=to_datetime(progress.evaluated_until_us).isoformat(),
        )

    def _add_rebased(
        self, session: Session, watch: Watch, rebase: Rebase, rows: Window, now_us: int
    ) -> None:
        """A reference of rows since the new version, which the next look opens."""
        request = rebase.request
        serving = f"version {request.version}" if request.version else "the result"
        deployment = watch.deployment
        schema = self.schema_of(deployment.model) or watch.schema
        add_reference(
            session,
            deployment.model,
            deployment.domain,
            Role.RECENT,
            replace(rows, domain=None),
            schema,
            self.clock.now(),
            note=f"re-based after {request.id}: {serving} serves",
        )
        save_judged(session, replace(request, rebased_at=to_datetime(now_us)))
        log.info("deployment.rebased", deployment=str(deployment), rows=rows.rows)

    def _refuse_if_touched(self, session: Session, incident: Incident) -> None:
        """Fail if a person acknowledged or resolved an incident this check is about to write."""
        try:
            stored = get_incident(session, incident.id, lock=True)
        except UnknownIncidentError:
            return
        # A long history is cut at its old end, so only its newest line is sure to be in both.
        if stored.history and stored.history[-1] not in incident.history:
            msg = f"incident {incident.id} was changed by a person during the check"
            raise ChangedMeanwhileError(msg)

    def _status(self, watch: Watch, progress: Progress, steps: Sequence[Step]) -> dict[str, object]:
        """What lists and pages show of a deployment without opening its checkpoint."""
        verdict = next((s.verdict for s in reversed(steps) if s.verdict is not None), None)
        if verdict is None:
            verdict = standing_verdict(watch, progress, ended=False)
        banks = [progress.feature.bank, *([progress.label.bank] if watch.label_specs else [])]
        doubts = [bank.why_not for bank in banks if not bank.guaranteed]
        return {
            "maturity": progress.feature.bank.maturity.value,
            "guaranteed": not doubts,
            "why_not": doubts[0] if doubts else None,
            "tick_us": progress.feature.tick_us,
            "label_tick_us": progress.label.tick_us,
            "label_delay_us": watch.label_delay_us,
            "pages": progress.pages,
            "tickets": progress.tickets,
            "first_live_us": progress.first_live_us,
            "transfer": verdict_json(verdict),
            "left_out": progress.left_out,
            "detectors": run_lengths(progress.named),
            "streams": streams_summary(followed_streams(progress)),
            "by_day": by_day_json(progress, watch.settings),
            "found_slices": followed_slices(watch, progress.forecast_watch),
        }


def _usable(stored: bytes | None, schema: Schema, settings: Settings) -> Profile | None:
    """A stored profile where it is of this schema and was fitted on rows as they are read now."""
    shadow = settings.baseline.design in {None, Design.SHADOW}
    if stored is None or not shadow or own_loss(settings, schema).loss:
        return None
    profile = Profile.from_bytes(stored)
    return profile if profile.schema == schema else None


def _in_groups(parties: Sequence[_OnTheWay]) -> list[list[_OnTheWay]]:
    """Those that are held against each other, who must go in step, and each of the others."""
    compared = {
        name
        for party in parties
        for days in party.progress.days
        if days.differences is not None
        for name in (party.domain, *days.profiles)
    }
    together = [party for party in parties if party.domain in compared]
    alone = [[party] for party in parties if party.domain not in compared]
    return [together, *alone] if together else alone


def _spans(
    states: Sequence[DeploymentState], settings: Settings, watermark_us: int
) -> list[tuple[int, int]]:
    """The event time that deployments are behind by, cut so that a span's rows fit in memory.

    Each is (since, until): evidence moves up to `until`, and rows from `since` on are wanted,
    which is one tick and one label delay earlier than where evidence stands. The rows are
    guessed from their mean density.
    """
    if not states:
        return []
    back_us = (settings.tick_us or DAY_US) + (settings.label_delay_us or 0)
    behind_us = min(
        s.cohort_evaluated_until_us or s.evaluated_until_us or s.first_event_us or 0 for s in states
    )
    all_us = watermark_us - min(s.first_event_us or 0 for s in states)
    rows = sum(s.rows for s in states) * (watermark_us - behind_us + back_us)
    pieces = max(1, -(-rows // (CACHED_ROWS * max(all_us, 1))))
    step_us = max(-(-(watermark_us - behind_us) // pieces), HOUR_US)
    ends = [*range(behind_us + step_us, watermark_us, step_us), watermark_us]
    return [(start - back_us, end) for start, end in pairwise([behind_us, *ends])]


def _live_since(reference: Reference | None) -> int | None:
    """Rows after a reference of recent rows are live: from the next day on."""
    until_us = None if reference is None else reference.until_us
    return None if until_us is None else -(-(until_us + 1) // DAY_US) * DAY_US


def _changed(steps: Sequence[Step]) -> list[Incident]:
    """The last state of every incident the steps touched."""
    latest = {incident.id: incident for step in steps for incident in step.incidents}
    return list(latest.values())


def _summaries(watch: Watch, steps: Sequence[Step]) -> list[StoredSummary]:
    stored = []
    for step in steps:
        for name, summary in step.evaluation.summaries:
            stored.append(
                StoredSummary(
                    clock=_stored_clock(name),
                    profile=watch.profile.fingerprint,
                    tick_us=watch.base_tick_us,
                    start_us=summary.start_us,
                    rows=summary.rows if name == "feature" else summary.labelled_rows,
                    body=summary.to_bytes(),
                )
            )
    return stored


def _stored_clock(name: ClockName) -> SummaryClock:
    return SummaryClock.FEATURE if name == "feature" else SummaryClock.LABEL
