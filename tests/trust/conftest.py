"""The databases that storage is tested on."""

from tests.storage.conftest import postgres_url

__all__ = ["postgres_url"]
