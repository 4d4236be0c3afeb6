"""Stores batch after batch and says which are acknowledged, until it is killed."""

import sys

from storage.engine import open_database
from tests.storage.rows import events, ids, known_model, send, tell

ROWS = 50


def main(url: str) -> None:
    identity = known_model(open_database(url))
    for number in range(1_000_000):
        names = range(number * ROWS, (number + 1) * ROWS)
        send(identity, events(list(names)), ids(*names))
        tell(identity, ids(*names), [float(name % 2) for name in names])
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
