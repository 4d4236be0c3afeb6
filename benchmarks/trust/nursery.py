"""Where daemons are born that live a second: a process that has everything imported, and forks.

Start-up is most of the life of a daemon that is killed at once, and most of that is imports and
kernels. The fork server of `multiprocessing` imports `benchmarks.trust.warm` once, so all of it is
there before the first fork; a life then begins with reading the configuration. Each child is a
process of its own with its own memory, connections and threads. The fork server itself forks from
one thread; the libraries that would start more are told to work with one.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from pathlib import Path

WARM = "benchmarks.trust.warm"
ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def nursery() -> ForkServerContext:
    """A fork server with all that in it. Call it before anything is forked from one."""
    os.environ.update(dict.fromkeys(ONE_THREAD, "1"))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([WARM])
    return context


def live(home: Path, environment: dict[str, str], arguments: list[str]) -> None:
    """What a child does: be `python -m benchmarks.trust.crashing …` until it ends."""
    from benchmarks.trust.crashing import main

    os.chdir(home)
    os.environ.update(environment)
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    sys.argv = ["crashing", *arguments]
    main()
