"""Databases for whole runs, the same as storage is tested on."""

from tests.measured_once import measured_once
from tests.storage.conftest import postgres_url

__all__ = ["measured_once", "postgres_url"]
