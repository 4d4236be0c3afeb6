"""Channels over HTTP: how each fares, a test message, dead letters sent again, who was told."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from alerts.records import MessageType, Outcome
from monitor.api.access import needs, refuse_bound
from monitor.api.context import ApiContext
from monitor.api.errors import RequestRefusedError
from monitor.api.forms import moment
from monitor.api.look_up import unknown
from monitor.api.problems import CONFLICT, PROBLEMS
from monitor.api.query import find_incident
from monitor.config.channels import pace_of
from storage.channels import ChannelState, channel_states, enable_channel
from storage.outbox import (
    Told,
    counts_by_channel,
    incident_log,
    last_delivered,
    replay_dead,
)
from storage.tokens import Scope

log = structlog.get_logger(__name__)

Name = Annotated[str, Path(max_length=400)]


class ChannelLine(BaseModel):
    """A channel and how it fares. Where it leads is not told: that may be a secret."""

    name: str
    kind: str | None = Field(description="null: messages wait for it, but it is not configured")
    tiers: list[str]
    rate: str | None = Field(description="Seconds a message, and how many may come at once")
    waiting: int
    dead: int
    failures: int = Field(description="In a row, that were the receiver's trouble")
    held_until: datetime | None
    disabled_at: datetime | None = Field(description="Its receiver answered 410")
    disabled_words: str | None
    last_delivered_at: datetime | None


class ChannelList(BaseModel):
    channels: list[ChannelLine]


class TrialShape(BaseModel):
    """How a test message fared."""

    channel: str
    delivered: bool
    status: int | None
    words: str
    duration_ms: int


class Enabled(BaseModel):
    channel: str
    enabled: bool = Field(description="false: nothing kept it")


class ReplayedAll(BaseModel):
    channel: str
    replayed: int = Field(description="Deliveries put back on their way")


class ToldLine(BaseModel):
    """One attempt to tell somebody of an incident; `outcome` null: it waits for its first."""

    message_id: str
    type: MessageType
    channel: str
    at: datetime | None
    attempt: int
    outcome: Outcome | None
    status: int | None = Field(description="The receiver's reply code")
    words: str
    next_at: datetime | None


class ToldList(BaseModel):
    deliveries: list[ToldLine]


def channels_router(context: ApiContext) -> APIRouter:
    """Routes about channels and what went through them."""
    router = APIRouter(prefix="/v1", responses=PROBLEMS)
    _look(router, context)
    _act(router, context)
    return router


def _look(router: APIRouter, context: ApiContext) -> None:
    reads = [needs(Scope.READ)]

    @router.get("/channels", response_model=ChannelList, tags=["channels"], dependencies=reads)
    def channels() -> dict[str, Any]:
        """Every channel with its state, the configured ones first."""
        return {"channels": _lines(context)}

    @router.get(
        "/incidents/{incident_id}/deliveries",
        response_model=ToldList,
        tags=["incidents"],
        dependencies=reads,
    )
    def deliveries(incident_id: Name) -> dict[str, Any]:
        """Who was told of an incident, when, and what came back."""
        find_incident(context, incident_id)
        with context.database.read() as session:
            return {"deliveries": [told_json(line) for line in incident_log(session, incident_id)]}


def _act(router: APIRouter, context: ApiContext) -> None:
    operates = [needs(Scope.OPERATE)]

    @router.post(
        "/channels/{channel}/test",
        response_model=TrialShape,
        tags=["channels"],
        dependencies=operates,
    )
    def test(channel: Name) -> dict[str, Any]:
        """Send a test message now, by the way alerts take, and say how it fared."""
        _may_work_on(context, channel)
        trial = context.send_test(channel)
        log.info("channel.tested", channel=channel, delivered=trial.delivered, words=trial.words)
        return {
            "channel": trial.channel,
            "delivered": trial.delivered,
            "status": trial.status,
            "words": trial.words,
            "duration_ms": trial.duration_ms,
        }

    @router.post(
        "/channels/{channel}/enable",
        response_model=Enabled,
        tags=["channels"],
        dependencies=operates,
    )
    def enable(channel: Name) -> dict[str, Any]:
        """Call a channel again that was disabled or held. Its dead letters stay dead."""
        _may_work_on(context, channel)
        with context.database.write() as session:
            enabled = enable_channel(session, channel)
        log.info("channel.enabled", channel=channel, was_kept=enabled)
        return {"channel": channel, "enabled": enabled}

    @router.post(
        "/channels/{channel}/replay",
        response_model=ReplayedAll,
        responses=CONFLICT,
        tags=["channels"],
        dependencies=operates,
    )
    def replay(channel: Name) -> dict[str, Any]:
        """Send every dead letter of a channel again, under the same ids."""
        _may_work_on(context, channel)
        with context.database.write() as session:
            if channel_states(session).get(channel, ChannelState(channel)).disabled_at is not None:
                raise RequestRefusedError(
                    409, "this channel is disabled", "POST /v1/channels/NAME/enable first"
                )
            replayed = replay_dead(session, context.clock.now(), channel=channel)
        log.info("channel.replayed", channel=channel, deliveries=replayed)
        return {"channel": channel, "replayed": replayed}


def told_json(line: Told) -> dict[str, Any]:
    """A line of the delivery log of an incident."""
    tried = line.attempt
    return {
        "message_id": line.message_id if tried is None else tried.message_id,
        "type": line.type.value,
        "channel": line.channel if tried is None else tried.channel,
        "at": None if tried is None else moment(tried.at),
        "attempt": 0 if tried is None else tried.attempt + 1,
        "outcome": None if tried is None else tried.outcome.value,
        "status": None if tried is None else tried.status,
        "words": "not tried yet" if tried is None else tried.words,
        "next_at": moment(line.due_at if tried is None else tried.next_at),
    }


def _lines(context: ApiContext) -> list[dict[str, Any]]:
    configured = {channel.name: channel for channel in context.config().channels}
    with context.database.read() as session:
        states, counts = channel_states(session), counts_by_channel(session)
        last = last_delivered(session)
    lines = []
    others = sorted(name for name in counts if name not in configured and any(counts[name]))
    for name in (*configured, *others):
        channel, state = configured.get(name), states.get(name, ChannelState(name))
        waiting, dead = counts.get(name, (0, 0))
        pace = None if channel is None else pace_of(channel)
        held = state.held_until
        lines.append(
            {
                "name": name,
                "kind": None if channel is None else channel.kind,
                "tiers": [] if channel is None else list(channel.tiers),
                "rate": None
                if pace is None
                else f"{pace.every.total_seconds():g} s, {pace.burst} at once",
                "waiting": waiting,
                "dead": dead,
                "failures": state.failures,
                "held_until": moment(held if held and held > context.clock.now() else None),
                "disabled_at": moment(state.disabled_at),
                "disabled_words": state.disabled_words or None,
                "last_delivered_at": moment(last.get(name)),
            }
        )
    return lines


def _may_work_on(context: ApiContext, channel: str) -> None:
    known = [one.name for one in context.config().channels]
    if channel not in known:
        raise unknown("channel", channel, known)
    refuse_bound("a channel carries messages of every model")
