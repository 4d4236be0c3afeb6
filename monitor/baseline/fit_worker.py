"""A process that only trains: bounded memory, bounded processor time, one thread.

Requests and replies are frames of a length and safetensors, so nothing that comes in is ever run.
Started as `python -m monitor.baseline.fit_worker MEBIBYTES SECONDS`; ends when its input does.
"""

from __future__ import annotations

import json
import os
import resource
import struct
import sys
from typing import BinaryIO

HEAD = struct.Struct("<BQ")
OK, REFUSED = 0, 1
MEBIBYTE = 1 << 20


def main() -> None:
    """Answer requests until there are no more."""
    mebibytes, seconds = int(sys.argv[1]), int(sys.argv[2])
    os.environ["OMP_NUM_THREADS"] = "1"
    replies = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints must not get between the frames
    import torch

    if not torch.cuda.is_available():  # a GPU's driver maps more than any bound on rows
        resource.setrlimit(resource.RLIMIT_DATA, (mebibytes * MEBIBYTE, mebibytes * MEBIBYTE))
    while (request := read_frame(sys.stdin.buffer)) is not None:
        _allow(seconds)
        try:
            status, reply = OK, answer(request[1])
        except (ValueError, MemoryError, RuntimeError) as error:
            status, reply = REFUSED, f"{type(error).__name__}: {error}".encode()[:500]
        write_frame(replies, status, reply)


def answer(request: bytes) -> bytes:
    """Train on the rows of a request: the network as safetensors."""
    from safetensors.numpy import save

    from detectors.records import Task
    from detectors.transfer.scratch.features import LabelledRows
    from detectors.transfer.scratch.fit import fit_network
    from detectors.transfer.scratch.state import (
        contiguous,
        network_about,
        network_arrays,
        read_tensors,
    )

    arrays, metadata = read_tensors(request)
    fit = fit_network(
        LabelledRows(**arrays), task=Task(metadata["task"]), seed=int(metadata["seed"])
    )
    about = json.dumps(
        {**network_about(fit.network), "train": fit.train, "validation": fit.validation}
    )
    return bytes(save(contiguous(network_arrays(fit.network)), metadata={"network": about}))


def _allow(seconds: int) -> None:
    """So much more processor time from now on; beyond it the system ends this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime) + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds, hard))


def write_frame(stream: BinaryIO, status: int, body: bytes) -> None:
    stream.write(HEAD.pack(status, len(body)))
    stream.write(body)
    stream.flush()


def read_frame(stream: BinaryIO) -> tuple[int, bytes] | None:
    """The next frame, None at the end of the stream or where it breaks off."""
    head = stream.read(HEAD.size)
    if len(head) < HEAD.size:
        return None
    status, length = HEAD.unpack(head)
    body = stream.read(length)
    return None if len(body) < length else (status, body)


if __name__ == "__main__":
    main()
