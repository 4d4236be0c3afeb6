"""How often one token may ask: a bucket that fills evenly, held in this process."""

from __future__ import annotations

import math
from collections import OrderedDict
from threading import Lock

MOST_KEYS = 4_096
BURST_S = 10.0
"""A bucket holds what this many seconds bring: senders work in bursts."""


class Rates:
    """Token buckets by key. At most `MOST_KEYS` are kept; the longest unused is forgotten, full."""

    def __init__(self) -> None:
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = Lock()

    def wait_s(self, key: str, per_minute: int, now_s: float) -> int:
        """0 and one request is counted, or the whole seconds after which to try again."""
        per_second = per_minute / 60
        most = max(1.0, BURST_S * per_second)
        with self._lock:
            left, at_s = self._left.pop(key, (most, now_s))
            left = min(most, left + max(0.0, now_s - at_s) * per_second)
            wait = 0 if left >= 1 else math.ceil((1 - left) / per_second)
            self._left[key] = (left if wait else left - 1, now_s)
            if len(self._left) > MOST_KEYS:
                self._left.popitem(last=False)
        return wait
