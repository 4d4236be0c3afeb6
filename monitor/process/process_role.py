"""What one process of a service does, where several share a PostgreSQL database."""

from __future__ import annotations

from enum import StrEnum


class ProcessRole(StrEnum):
    """`api` answers HTTP and takes rows; `worker` checks, delivers, pulls, prunes; `all` both."""

    API = "api"
    WORKER = "worker"
    ALL = "all"

    @property
    def works(self) -> bool:
        """Whether it runs the jobs."""
        return self is not ProcessRole.API

    @property
    def answers(self) -> bool:
        """Whether it serves more than health and figures."""
        return self is not ProcessRole.WORKER
