"""Runs the apprise library in a process of its own, because it opens connections by itself.

The child's every connection passes the table of refused addresses (an audit hook sees the very
address); it has no proxies in its environment; at the deadline it is killed. The URL, which holds
secrets, and the text go in by a pipe; nothing the library says comes back, as it may repeat them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec

from alerts.notifiers import Relayed
from alerts.schedule import Reply
from monitor.clock import Clock
from monitor.outgoing.addresses import Network

RELAY_DEADLINE_S = 30.0
"""The library and what it needs take seconds to load."""

SENT, FAILED, UNREADABLE, REFUSED = 0, 10, 11, 12
_ERRORS = {
    FAILED: "apprise could not send it",
    UNREADABLE: "apprise does not know this kind of URL",
}


def relay(
    relayed: Relayed,
    *,
    clock: Clock,
    allowed: Sequence[Network] = (),
    deadline_s: float = RELAY_DEADLINE_S,
) -> Reply:
    """One attempt; never raises for what the library or a receiver does."""
    if find_spec("apprise") is None:
        return Reply(error="apprise is not installed; pip install 'kedge[apprise]'", permanent=True)
    order = {
        "url": relayed.url,
        "title": relayed.title,
        "text": relayed.text,
        "allowed": [str(network) for network in allowed],
    }
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    started = clock.monotonic()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "monitor.outgoing.relay_child"],
            input=json.dumps(order).encode(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=deadline_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        error = f"not sent within {deadline_s:g} s"
        return Reply(error=error, duration_ms=round(1000 * (clock.monotonic() - started)))
    took_ms = round(1000 * (clock.monotonic() - started))
    match done.returncode:
        case 0:
            return Reply(status=200, duration_ms=took_ms)
        case 12:
            error = "refused: an address in the table of refused ones; see allow_networks"
            return Reply(error=error, permanent=True, duration_ms=took_ms)
        case code:
            error = _ERRORS.get(code, f"the apprise process ended with {code}")
            return Reply(error=error, permanent=code == UNREADABLE, duration_ms=took_ms)
