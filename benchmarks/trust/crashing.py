"""The daemon as it is, but killed at a named point.

    python -m benchmarks.trust.crashing NAME N run --config kedge.toml

The product knows nothing of this: functions are wrapped in this process before the command is
called. At the N-th time a thread passes the point, the process ends by SIGKILL. Leases and claims
are two seconds long here, so that a killed process is soon made up for.
"""

from __future__ import annotations

import importlib
import itertools
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

SHORT = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Point:
    """Where to die: before or after a call of `name` in `module` ("Class.method" as well)."""

    module: str
    name: str
    after: bool = True


POINTS: dict[str, Point] = {
    "events stored, not committed": Point("monitor.intake.ingest", "append_events"),
    "labels stored, not committed": Point("monitor.intake.ingest", "append_labels"),
    "committed, not answered": Point("monitor.intake.ingest", "Ingest._count"),
    "judged, not saved": Point("monitor.watching.runner", "Runner._save", after=False),
    "checkpoint written, not committed": Point("monitor.watching.runner", "save_checkpoint"),
    "message written, not committed": Point("monitor.watching.runner", "post"),
    "check saved": Point("monitor.watching.runner", "Runner._save"),
    "claimed, not sent": Point("monitor.outgoing.delivery", "_send", after=False),
    "sent, not marked": Point("monitor.outgoing.delivery", "_send"),
    "marked, not committed": Point("monitor.outgoing.delivery", "mark_delivered"),
    "delivered": Point("monitor.outgoing.delivery", "_deliver"),
}
ON_POSTGRES = {
    "lease taken, not committed": Point("monitor.process.leases", "take_lease"),
    "lease held": Point("monitor.process.daemon", "Service._check", after=False),
    "lease not released": Point("monitor.process.daemon", "Service._check"),
}


def arm(point: Point, times: int) -> None:
    """Wrap the function so that its `times`-th call is the last thing this process does."""
    owner: Any = importlib.import_module(point.module)
    *path, name = point.name.split(".")
    for step in path:
        owner = getattr(owner, step)
    genuine: Callable[..., Any] = getattr(owner, name)
    calls = itertools.count(1)

    def wrapped(*given: Any, **named: Any) -> Any:
        last = next(calls) >= times
        if last and not point.after:
            os.kill(os.getpid(), signal.SIGKILL)
        result = genuine(*given, **named)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def hurry() -> None:
    """Short leases and claims."""
    daemon: Any = importlib.import_module("monitor.process.daemon")
    delivery: Any = importlib.import_module("monitor.outgoing.delivery")
    daemon.Leases = partial(daemon.Leases, length=SHORT)
    delivery.deliver_due.__kwdefaults__["lease"] = SHORT


def main() -> None:
    name, times, *words = sys.argv[1:]
    hurry()
    if name:
        arm((POINTS | ON_POSTGRES)[name], int(times))
    sys.argv = ["kedge", *words]
    from monitor.cli import main as kedge

    kedge()


if __name__ == "__main__":
    main()
