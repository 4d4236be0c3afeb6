"""Which columns that a model's schema lacks are being kept: so many at a time, however many come.

Each body may bring other names, and rows read together have a column for every one of them: names
are let in until there is no more room, and leave when they have not come for a day.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass, field

from detectors.records import DAY_US

KEPT_US = DAY_US


@dataclass(slots=True)
class NewNames:
    """By model the names that are let in, and when each came last. Any thread may ask."""

    _seen: dict[str, dict[str, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def admit(self, model: str, names: Iterable[str], *, now_us: int, most: int) -> frozenset[str]:
        """Those of `names` that may be kept: known ones, then by name while there is room."""
        with self._lock:
            seen = self._seen.setdefault(model, {})
            wanted = sorted(set(names))
            known = {name: now_us for name in wanted if name in seen}
            seen.update(known)
            if len(known) < len(wanted) and len(seen) >= most:
                for old in [name for name, at in seen.items() if at < now_us - KEPT_US]:
                    del seen[old]
            admitted = set(known)
            for name in wanted:
                if name not in admitted and len(seen) < most:
                    seen[name] = now_us
                    admitted.add(name)
            return frozenset(admitted)
