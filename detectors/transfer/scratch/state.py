"""What the trained baseline remembers, as one value: rows to learn from, weights, its curve.

It predicts a chunk of events first and learns from the chunk when its labels have matured
(Dawid's prequential principle), so no score ever comes from a model that has seen its row. When
it is trained again follows from counts of rows alone; nothing here depends on who calls, or when.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from detectors.records import BaselinePlan, FloatArray, Schema, Task, Window
from detectors.transfer.learning_curve import CurvePoint
from detectors.transfer.loss import loss_of
from detectors.transfer.scratch.features import (
    LabelledRows,
    empty_rows,
    features_of,
    join_rows,
    labelled_rows,
)
from detectors.transfer.scratch.fit import Fit
from detectors.transfer.scratch.network import Arm, Network
from detectors.transfer.standing import BaselineFacts

FEWEST_ROWS = 200
FEWEST_MINORITY = 20
GROWTH = 1.25
"""Trained again when a quarter more rows have come: all fits together cost five times the last."""
MOST_POINTS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class ScratchState:
    """`until_us` is the start of the next chunk to learn from, None before the first event.

    `seen` counts rows ever learnt from, `seen_at_fit` those at the last fit or failed try, `fits`
    the fits that succeeded; `trained`, `since_us` and `last_us` are the rows of the last one and
    the event times of its first and last row.
    """

    rows: LabelledRows
    until_us: int | None = None
    seen: int = 0
    seen_at_fit: int = 0
    fits: int = 0
    trained: int = 0
    since_us: int = 0
    last_us: int = 0
    network: Network | None = None
    train: float = 0.0
    validation: float = 0.0
    points: tuple[tuple[int, float, float, float, float], ...] = ()
    """(chunk start us, rows trained on, rows, Σ loss, Σ transferred loss), a chunk each."""

    @classmethod
    def fresh(cls, schema: Schema) -> ScratchState:
        return cls(empty_rows(schema))

    def absorb(self, window: Window, schema: Schema, plan: BaselinePlan) -> ScratchState:
        """Take labelled rows to learn from; only the latest `plan.most_rows` are kept."""
        new = labelled_rows(window, schema)
        if not len(new):
            return self
        rows = join_rows([self.rows, new])
        kept = rows.take(slice(max(0, len(rows) - plan.most_rows), None))
        return replace(self, rows=kept, seen=self.seen + len(new))

    def is_due(self, schema: Schema, plan: BaselinePlan) -> bool:
        """Whether enough rows have come to train, or to train again."""
        if len(self.rows) < FEWEST_ROWS:
            return False
        if schema.task is not Task.REGRESSION:
            ones = float((self.rows.target > 0.5).sum())
            if min(ones, len(self.rows) - ones) < FEWEST_MINORITY:
                return False
        if not self.seen_at_fit:
            return True
        step = min((GROWTH - 1.0) * self.seen_at_fit, (GROWTH - 1.0) * plan.most_rows)
        return self.seen - self.seen_at_fit >= step

    def fitted(self, fit: Fit) -> ScratchState:
        """The state after a fit on its rows."""
        return replace(
            self,
            seen_at_fit=self.seen,
            fits=self.fits + 1,
            trained=len(self.rows),
            since_us=int(self.rows.ts_us.min()),
            last_us=int(self.rows.ts_us.max()),
            network=fit.network,
            train=fit.train,
            validation=fit.validation,
        )

    def given_up(self) -> ScratchState:
        """The state after a fit that failed: the next try waits for a quarter more rows."""
        return replace(self, seen_at_fit=self.seen)

    def score(self, window: Window, schema: Schema) -> FloatArray:
        """Scores (n,) of a window's rows, NaN before the first fit."""
        if self.network is None:
            return np.full(window.rows, np.nan)
        return self.network.predict(*features_of(window, schema))

    def noted(self, window: Window, schema: Schema, chunk_us: int) -> ScratchState:
        """The learning curve with what this scored window, of one chunk, adds to it."""
        score, label = window.baseline_score, window.label
        if self.network is None or score is None or label is None:
            return self
        loss = loss_of(schema.task, score, label)
        served = (
            np.full(window.rows, np.nan)
            if window.score is None
            else loss_of(schema.task, window.score, label)
        )
        known = np.isfinite(loss) & np.isfinite(served)
        if not known.any():
            return self
        added = float(known.sum()), float(loss[known].sum()), float(served[known].sum())
        points = list(self.points)
        if points and points[-1][:2] == (chunk_us, float(self.trained)):
            added = (
                points[-1][2] + added[0],
                points[-1][3] + added[1],
                points[-1][4] + added[2],
            )
            points.pop()
        points.append((chunk_us, float(self.trained), *added))
        return replace(self, points=tuple(points[-MOST_POINTS:]))

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        return tuple(
            CurvePoint(trained, rows, loss / rows, served / rows)
            for _, trained, rows, loss, served in self.points
        )

    @property
    def facts(self) -> BaselineFacts | None:
        """The version in force, None before the first fit. It never scores rows it learnt from."""
        if not self.fits:
            return None
        return BaselineFacts(
            version=self.fits,
            source="trained",
            rows=self.trained,
            since_us=self.since_us,
            until_us=self.last_us,
            curve=self.curve,
        )

    def to_bytes(self) -> bytes:
        """Arrays and counts as safetensors: no code is run to read it."""
        from safetensors.numpy import save

        arrays = {f"rows.{name}": getattr(self.rows, name) for name in _ROWS}
        if self.network is not None:
            arrays |= network_arrays(self.network)
        counts = {name: getattr(self, name) for name in _COUNTS}
        about = None if self.network is None else network_about(self.network)
        text = json.dumps({"counts": counts, "points": self.points, "network": about})
        return bytes(save(contiguous(arrays), metadata={"state": text}))

    @classmethod
    def from_bytes(cls, body: bytes) -> ScratchState:
        """What `to_bytes` wrote. ValueError if it is something else."""
        arrays, metadata = read_tensors(body)
        if "state" not in metadata:
            msg = "not the state of a trained baseline"
            raise ValueError(msg)
        about = json.loads(metadata["state"])
        network = None if about["network"] is None else network_from(arrays, about["network"])
        return cls(
            rows=LabelledRows(**{name: arrays[f"rows.{name}"] for name in _ROWS}),
            network=network,
            points=tuple(tuple(point) for point in about["points"]),
            **about["counts"],
        )


_ROWS = ("numeric", "bucket", "target", "weight", "ts_us")
_COUNTS = (
    *("until_us", "seen", "seen_at_fit", "fits", "trained", "since_us", "last_us"),
    *("train", "validation"),
)


def contiguous(arrays: dict[str, Any]) -> dict[str, Any]:
    """Arrays as safetensors wants them: in order, and none without elements."""
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def read_tensors(body: bytes) -> tuple[dict[str, Any], dict[str, str]]:
    """Arrays and metadata of safetensors; ValueError for other bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(body)
        length = int.from_bytes(body[:8], "little")
        header = json.loads(body[8 : 8 + length])
    except (SafetensorError, ValueError) as error:
        msg = f"these are not safetensors: {error}"
        raise ValueError(msg) from error
    return arrays, header.get("__metadata__", {})


def network_arrays(network: Network) -> dict[str, Any]:
    """The arrays of a network by name."""
    arrays: dict[str, Any] = {"centre": network.centre, "scale": network.scale}
    for number, member in enumerate(network.members):
        arrays |= {f"member.{number}.{name}": array for name, array in member.items()}
    return arrays


def network_about(network: Network) -> dict[str, Any]:
    """What of a network is not an array."""
    return {
        "task": network.task.value,
        "arm": network.arm.value,
        "target_mean": network.target_mean,
        "target_sd": network.target_sd,
        "members": len(network.members),
    }


def network_from(arrays: dict[str, Any], about: dict[str, Any]) -> Network:
    """A network from its arrays and the rest."""
    members = []
    for number in range(about["members"]):
        prefix = f"member.{number}."
        members.append(
            {
                name.removeprefix(prefix): array
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
        )
    return Network(
        task=Task(about["task"]),
        arm=Arm(about["arm"]),
        centre=arrays["centre"],
        scale=arrays["scale"],
        target_mean=about["target_mean"],
        target_sd=about["target_sd"],
        members=tuple(members),
    )
