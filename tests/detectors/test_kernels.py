"""numba's cache of compiled code, where processes fill and read it at the same time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.caching import IndexDataCacheFile

import detectors.kernels
from tests.sources import PACKAGES, imported, modules

SOURCE = """
from detectors.kernels import njit

@njit(cache=True)
def total(values):
    return values.sum()
"""


def cache(folder: Path, source: str) -> Any:
    """As a process has it that runs this source of one kernel."""
    kind: Any = IndexDataCacheFile
    return kind(str(folder), "kernel", source)


def save(mine: Any, key: str, code: str, between: Callable[[], Any]) -> Any:
    """Save, and meet another process when the index is written and its file is not."""
    genuine, met = mine._save_data, []

    def late(name: str, data: object) -> None:
        met.append(between())
        genuine(name, data)

    mine._save_data = late
    mine.save(key, code)
    return met[0]


def test_nobody_is_handed_what_an_older_source_was_compiled_to(tmp_path: Path) -> None:
    cache(tmp_path, "old").save("float64", "old code")
    beside = cache(tmp_path, "new")
    seen = save(cache(tmp_path, "new"), "float64", "new code", lambda: beside.load("float64"))
    assert seen is None
    assert beside.load("float64") == "new code"


def test_two_that_compile_for_other_types_at_once_never_get_each_other_s(tmp_path: Path) -> None:
    """Both have read the empty index: the one that writes it last is found, with its own code."""
    other = cache(tmp_path, "new")
    other._load_index = dict
    save(cache(tmp_path, "new"), "int64", "whole", lambda: other.save("float64", "real"))
    later = cache(tmp_path, "new")
    assert (later.load("int64"), later.load("float64")) == (None, "real")


def test_what_was_compiled_once_is_loaded_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "kernel.py"
    path.write_text(SOURCE)
    hits = []
    for _ in range(2):
        names: dict[str, Any] = {"__name__": "kernel", "__file__": str(path)}
        exec(compile(SOURCE, str(path), "exec"), names)
        assert names["total"](np.arange(4.0)) == 6.0
        hits.append(sum(names["total"].stats.cache_hits.values()))
    assert hits == [0, 1]


def test_every_kernel_is_compiled_through_this_cache() -> None:
    using = {
        file
        for file, tree in modules(*PACKAGES)
        if any(name.partition(".")[0] == "numba" for name in imported(tree))
    }
    assert using == {"detectors/kernels.py"}
    assert IndexDataCacheFile._data_name is detectors.kernels._named_once
