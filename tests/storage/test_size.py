from sqlalchemy import text

from storage.engine import Database
from storage.size import database_bytes


def test_the_size_grows_with_what_is_stored(database: Database) -> None:
    before = database_bytes(database)
    assert before > 0
    with database.write() as session:
        session.execute(text("CREATE TABLE ballast (words TEXT)"))
        session.execute(text("INSERT INTO ballast VALUES (:words)"), {"words": _unlike(500_000)})
    grown = database_bytes(database)
    with database.write() as session:
        session.execute(text("DROP TABLE ballast"))
    assert grown - before > 300_000


def _unlike(characters: int) -> str:
    """Text that no database can compress much."""
    import hashlib

    blocks = (
        hashlib.sha256(bytes([n % 256, n // 256])).hexdigest() for n in range(characters // 64)
    )
    return "".join(blocks)
