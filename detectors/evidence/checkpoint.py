"""A bank as bytes and back: explicit fields, a version, never a pickle."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from detectors.evidence.bank import ENGINE_VERSION, Bank, History
from detectors.evidence.budget import Plan
from detectors.evidence.codec import Packed, pack, unpack
from detectors.evidence.counted import Account, CountedStreams, Following
from detectors.evidence.fleet import FleetPrior
from detectors.evidence.reference import LEVEL_WALK
from detectors.evidence.sparse import Rates
from detectors.evidence.state import FilterState
from detectors.records import Budget, StreamSpec


class SavedPrior(msgspec.Struct, frozen=True):
    """A fleet prior."""

    tick_us: int
    phi_weights: Packed
    season: dict[str, tuple[Packed, Packed]]


class SavedCounted(msgspec.Struct, frozen=True):
    """How streams are followed, and the accounts of those that are counted."""

    following: tuple[Following, ...]
    why: tuple[str, ...]
    rates: dict[str, Packed]
    account: dict[str, Packed]
    memory: dict[int, Packed]
    history: tuple[Packed, ...]


class SavedBank(msgspec.Struct, frozen=True):
    """A bank, field by field."""

    engine: int
    specs: tuple[StreamSpec, ...]
    tick_us: int
    budget: Budget
    holidays: str | None
    row_ticks: bool
    scale_floor: float
    standing_doubt: str
    prior: SavedPrior | None
    ticks: int
    live: bool
    first_us: int | None
    until_us: int | None
    last_start_us: int | None
    state: dict[str, Packed] | None
    phi_weights: Packed
    alarmed: Packed
    history: tuple[Packed, Packed, Packed] | None
    counted: SavedCounted
    level_walk: float = LEVEL_WALK
    walk_sd: Packed | None = None
    yearly: bool = False
    page_share: float = 1.0
    gate_share: float = 1.0
    ticket_share: float = 1.0


def encode(bank: Bank) -> bytes:
    """The bank as MessagePack. History is joined, so equal banks give equal bytes."""
    prior = bank.prior
    history = None
    if bank.history:
        history = (
            pack(np.concatenate([part.starts_us for part in bank.history])),
            pack(np.concatenate([part.y for part in bank.history])),
            pack(np.concatenate([part.v for part in bank.history])),
        )
    saved = SavedBank(
        engine=ENGINE_VERSION,
        specs=bank.specs,
        tick_us=bank.tick_us,
        budget=bank.budget,
        holidays=bank.holidays,
        row_ticks=bank.row_ticks,
        scale_floor=bank.scale_floor,
        standing_doubt=bank.standing_doubt,
        prior=None
        if prior is None
        else SavedPrior(
            prior.tick_us,
            pack(prior.phi_weights),
            {name: (pack(mean), pack(var)) for name, (mean, var) in prior.season.items()},
        ),
        ticks=bank.ticks,
        live=bank.live,
        first_us=bank.first_us,
        until_us=bank.until_us,
        last_start_us=bank.last_start_us,
        state=None
        if bank.state is None
        else {name: pack(array) for name, array in bank.state.arrays().items()},
        phi_weights=pack(bank.phi_weights),
        alarmed=pack(bank.alarmed),
        history=history,
        level_walk=bank.level_walk,
        walk_sd=None if bank.walk_sd is None else pack(bank.walk_sd),
        page_share=bank.page_share,
        ticket_share=bank.ticket_share,
        yearly=bank.yearly,
        gate_share=bank.gate_share,
        counted=_saved(bank.counted),
    )
    return msgspec.msgpack.encode(saved)


def decode(blob: bytes) -> Bank:
    """The bank again. Raises ValueError for other bytes or another engine version."""
    try:
        saved = msgspec.msgpack.decode(blob, type=SavedBank)
    except msgspec.DecodeError as fault:
        msg = f"these bytes are not a saved bank ({fault}); rebuild it by replaying its ticks"
        raise ValueError(msg) from fault
    if saved.engine != ENGINE_VERSION:
        msg = (
            f"a bank saved by engine {saved.engine} cannot go on under engine {ENGINE_VERSION}; "
            "rebuild it by replaying its ticks"
        )
        raise ValueError(msg)
    prior = saved.prior
    state = None
    if saved.state is not None:
        arrays: dict[str, NDArray[Any]] = {n: unpack(p) for n, p in saved.state.items()}
        try:
            state = FilterState(**arrays)
        except TypeError as fault:
            msg = f"a saved filter lacks a part ({fault}); rebuild it by replaying its ticks"
            raise ValueError(msg) from fault
    return Bank(
        specs=saved.specs,
        tick_us=saved.tick_us,
        budget=saved.budget,
        holidays=saved.holidays,
        row_ticks=saved.row_ticks,
        scale_floor=saved.scale_floor,
        standing_doubt=saved.standing_doubt,
        prior=None
        if prior is None
        else FleetPrior(
            prior.tick_us,
            unpack(prior.phi_weights),
            {name: (unpack(mean), unpack(var)) for name, (mean, var) in prior.season.items()},
        ),
        plan=Plan.of(
            saved.specs,
            saved.budget,
            page_share=saved.page_share,
            ticket_share=saved.ticket_share,
        ),
        page_share=saved.page_share,
        ticket_share=saved.ticket_share,
        level_walk=saved.level_walk,
        walk_sd=None if saved.walk_sd is None else unpack(saved.walk_sd),
        yearly=saved.yearly,
        gate_share=saved.gate_share,
        ticks=saved.ticks,
        live=saved.live,
        first_us=saved.first_us,
        until_us=saved.until_us,
        last_start_us=saved.last_start_us,
        state=state,
        phi_weights=unpack(saved.phi_weights),
        alarmed=unpack(saved.alarmed),
        history=()
        if saved.history is None
        else (
            History(
                unpack(saved.history[0]),
                unpack(saved.history[1]),
                unpack(saved.history[2]),
            ),
        ),
        counted=_restored(saved.counted),
    )


def _saved(counted: CountedStreams) -> SavedCounted:
    return SavedCounted(
        following=counted.following,
        why=counted.why,
        rates={name: pack(array) for name, array in counted.rates.arrays().items()},
        account={name: pack(array) for name, array in counted.account.arrays().items()},
        memory={stream: pack(array) for stream, array in counted.memory.items()},
        history=tuple(pack(part) for part in counted.history),
    )


def _restored(saved: SavedCounted) -> CountedStreams:
    try:
        rates = Rates(**{name: unpack(packed) for name, packed in saved.rates.items()})
        account = Account(**{name: unpack(packed) for name, packed in saved.account.items()})
    except TypeError as fault:
        msg = f"saved counts lack a part ({fault}); rebuild it by replaying its ticks"
        raise ValueError(msg) from fault
    return CountedStreams(
        following=saved.following,
        why=saved.why,
        rates=rates,
        account=account,
        memory={stream: unpack(packed) for stream, packed in saved.memory.items()},
        history=tuple(unpack(part) for part in saved.history),
    )
