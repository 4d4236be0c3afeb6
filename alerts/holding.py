"""Whether a message is held back, and by what: a group, a silence or the fault that explains it.

What is held is kept, with the reason, and its incident is told once when the reason is gone if it
is still open then.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from alerts.inhibition import inhibited_by
from alerts.plain import plain
from alerts.records import Incident, Message
from alerts.silences import Silence, silenced_by


class HoldKind(StrEnum):
    """What holds a message."""

    SILENCE = "silence"
    INHIBITION = "inhibition"
    GROUP = "group"
    UNTOLD = "untold"


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a message is not sent: by which silence or incident, in words."""

    kind: HoldKind
    by: str
    words: str


def why_held(
    message: Message,
    incident: Incident,
    *,
    silences: Iterable[Silence] = (),
    others: Iterable[Incident] = (),
    group: Incident | None = None,
    told: bool = False,
    held_before: bool = False,
    now: datetime,
) -> Hold | None:
    """Why a message about an incident is not to be sent now, or None.

    `others` are the deployment's incidents, `group` the open group it is a member of. `told`:
    somebody was told of this incident before, and `held_before`: a message of it was held. Who
    was told of a problem is told who has it and when it ends, whatever holds by then. A retraining
    request is for machines, wakes nobody, and has approval of its own: it is never held.
    """
    if message.type.about_training:
        return None
    if message.type.follows and told:
        return None
    if group is not None and group.is_open:
        words = f"told as part of {group.id}: {plain(group.headline)}"
        return Hold(HoldKind.GROUP, group.id, plain(words))
    if (silence := silenced_by(incident, silences, now)) is not None:
        return Hold(HoldKind.SILENCE, silence.id, plain(silence.words()))
    if (cause := inhibited_by(incident, others)) is not None:
        words = f"inhibited by {cause.id}: {plain(cause.headline)}"
        return Hold(HoldKind.INHIBITION, cause.id, plain(words))
    if message.type.follows and held_before:
        return Hold(HoldKind.UNTOLD, "", "nobody had been told that it was open")
    return None
