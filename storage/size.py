"""How much room the database takes."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import text

from storage.engine import Database


def database_bytes(database: Database) -> int:
    """Bytes on disk: on SQLite the file with its write-ahead log, on PostgreSQL the database."""
    if (path := database.path) is not None:
        parts = (path, Path(f"{path}-wal"))
        return sum(part.stat().st_size for part in parts if part.is_file())
    with database.read() as session:
        return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
