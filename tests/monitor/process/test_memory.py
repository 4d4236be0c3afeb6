"""What is free in the middle of a heap goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.sources import ROOT

HOLES = """
import ctypes
from pathlib import Path
from monitor.process.memory import give_back

libc = ctypes.CDLL(None)
if not hasattr(libc, "malloc_trim"):
    raise SystemExit(3)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

give_back()
size, blocks = 32_768, 3_000
held = []
for number in range(blocks):
    held.append(libc.malloc(size))
    ctypes.memset(held[-1], 1, size)
before = resident()
# Every eighth block lives on, the last among them: no end of the heap is free.
for number in range(blocks - 1):
    if number % 8:
        libc.free(held[number])
freed = 7 * size * (blocks // 8)
alone = before - resident()
give_back()
print(alone / freed, (before - resident()) / freed)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux how much is resident")
def test_free_memory_between_things_that_live_is_given_back() -> None:
    command = [sys.executable, "-c", HOLES]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode == 3:
        pytest.skip("this is not glibc")
    assert done.returncode == 0, done.stderr
    alone, asked = map(float, done.stdout.split())
    assert alone < 0.2, "the allocator has learnt to do it alone: the job can go"
    assert asked > 0.7
