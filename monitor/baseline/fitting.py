"""Fits asked of the training process; what goes wrong there is a sentence here, never a crash."""

from __future__ import annotations

import atexit
import json
import subprocess
import sys
import threading
from dataclasses import dataclass, field

from detectors.records import BaselinePlan, Task
from detectors.transfer.scratch.features import LabelledRows
from detectors.transfer.scratch.fit import Fit
from detectors.transfer.scratch.state import contiguous, network_from, read_tensors
from monitor.baseline.fit_worker import OK, read_frame, write_frame

PATIENCE = 10
"""Wall seconds a fit may take for each second of processor time, where others keep it waiting."""


class FitFailedError(RuntimeError):
    """A fit gave no model; says why."""


@dataclass(slots=True, eq=False)
class FitWorker:
    """One training process, started at the first fit and again after one that ended it.

    `fit` may be called from any thread; fits wait for each other.
    """

    mebibytes: int
    seconds: int
    _process: subprocess.Popen[bytes] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def fit(self, rows: LabelledRows, *, task: Task, seed: int) -> Fit:
        """Train on rows (n,); FitFailedError with the reason."""
        from safetensors.numpy import save

        names = ("numeric", "bucket", "target", "weight", "ts_us")
        arrays = contiguous({name: getattr(rows, name) for name in names})
        request = save(arrays, metadata={"task": task.value, "seed": str(seed)})
        with self._lock:
            status, reply = self._ask(bytes(request))
        if status != OK:
            raise FitFailedError(reply.decode(errors="replace"))
        found, metadata = read_tensors(reply)
        about = json.loads(metadata["network"])
        return Fit(network_from(found, about), about["train"], about["validation"])

    def close(self) -> None:
        """End the process; another fit starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _ask(self, request: bytes) -> tuple[int, bytes]:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        limit = threading.Timer(self.seconds * PATIENCE, process.kill)
        limit.start()
        try:
            write_frame(process.stdin, OK, request)  # type: ignore[arg-type]  # a pipe of bytes
            reply = read_frame(process.stdout)  # type: ignore[arg-type]  # a pipe of bytes
        except OSError:
            reply = None
        finally:
            limit.cancel()
        if reply is None:
            self.close()
            msg = (
                f"training was ended: more than {self.seconds} s of processor time or "
                f"{self.mebibytes:,} MiB, or the process was killed"
            )
            raise FitFailedError(msg)
        return reply

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            words = [sys.executable, "-m", "monitor.baseline.fit_worker"]
            words += [str(self.mebibytes), str(self.seconds)]
            self._process = subprocess.Popen(  # noqa: S603  # our own module, numbers as arguments
                words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            atexit.register(self.close)
        return self._process


_workers: dict[tuple[int, int], FitWorker] = {}
_starting = threading.Lock()


def worker_for(plan: BaselinePlan) -> FitWorker:
    """The process for these bounds; all deployments of this process share it."""
    with _starting:
        bounds = (plan.fit_mebibytes, plan.fit_seconds)
        return _workers.setdefault(bounds, FitWorker(*bounds))
