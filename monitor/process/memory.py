"""Giving back what a long-lived process has freed.

Batches and windows are thousands of arrays of some kilobytes that come and go between small
objects that live long. Nothing leaks, and yet the heaps of glibc grew by 3 to 5 MiB an hour of a
simulated day, all of it free: it gives back the end of a heap by itself, never the middle. Arrow
keeps what it has freed as well. Asking both once a minute costs milliseconds. Larger thresholds for
mapped memory and fewer heaps, which are what is mostly advised, made no difference here.
"""

from __future__ import annotations

import ctypes
import sys

EVERY_S = 60.0


def give_back() -> None:
    """Return free pages to the system, where this is Linux with glibc; Arrow's anywhere."""
    import pyarrow as pa

    pa.default_memory_pool().release_unused()
    if not sys.platform.startswith("linux"):
        return
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if malloc_trim is not None:
        malloc_trim(0)
