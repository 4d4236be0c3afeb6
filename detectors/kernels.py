"""`njit` for every kernel, with a cache on disk that processes may fill together.

numba numbers the files of compiled code, writes the index before the file it points to, and begins
at 1 again when the source has changed. A process that starts beside another just after an upgrade
can so be handed what an older source, or other types, were compiled to: wrong numbers for as long
as it lives. Here each file has a name that no other file ever has. A reader that comes too soon
finds none and compiles for itself; files that no index names any more stay until the cache is
removed.
"""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from numba import njit
from numba.core.caching import IndexDataCacheFile

_numbered: Any = IndexDataCacheFile._data_name


def _named_once(cache: IndexDataCacheFile, number: int) -> str:
    name: str = _numbered(cache, uuid4().int)
    return name


IndexDataCacheFile._data_name = _named_once  # type: ignore[method-assign]

__all__ = ["njit"]
