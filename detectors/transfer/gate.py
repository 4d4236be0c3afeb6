"""The onboarding gate: may the transferred model serve this domain, and why."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from detectors.records import Maturity, TransferState, TransferVerdict
from detectors.transfer.standing import Standing


class Admission(StrEnum):
    """Admitted: let it serve. Refused: do not. Probation: watch it until the reasons are gone."""

    ADMITTED = "admitted"
    REFUSED = "refused"
    PROBATION = "probation"


@dataclass(frozen=True, slots=True)
class Gate:
    """The answer and every reason for it, the weightiest first."""

    state: Admission
    reasons: tuple[str, ...]


def onboarding_gate(
    verdict: TransferVerdict,
    standing: Standing,
    *,
    maturity: Maturity | None = None,
    faults: Sequence[str] = (),
    doubts: Sequence[str] = (),
) -> Gate:
    """Refused on proven harm or a broken schema; admitted on a final word of helps or neutral.

    `faults` are deterministic schema faults in words, `doubts` further reasons to wait, such as a
    mapping nobody has verified. Anything not yet known is probation.
    """
    against: list[str] = []
    if verdict.state is TransferState.HURTS:
        against.append(f"transfer {verdict.words}")
    against += [f"schema: {fault}" for fault in faults]
    hurt = [name for name, part in verdict.slices if part.state is TransferState.HURTS]
    if against:
        return Gate(Admission.REFUSED, tuple(against))
    waiting: list[str] = []
    if verdict.state is TransferState.NOT_MONITORED:
        waiting.append("no baseline is recorded, so benefit cannot be shown")
    elif verdict.state is TransferState.UNDETERMINED:
        waiting.append(f"transfer {verdict.words}")
    elif verdict.so_far:
        waiting.append(f"the planned review lies ahead; transfer {verdict.words}")
    if not standing.decides:
        waiting.append(standing.words)
    waiting += [f"transfer hurts in {name}" for name in hurt]
    if maturity is Maturity.WARMING:
        waiting.append("too little history to promise a false-alarm budget")
    waiting += list(doubts)
    if waiting:
        return Gate(Admission.PROBATION, tuple(dict.fromkeys(waiting)))
    return Gate(Admission.ADMITTED, (f"transfer {verdict.words}",))
