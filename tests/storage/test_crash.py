import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from storage.deployments import get_deployment
from storage.engine import Database
from storage.identity import Identity
from storage.inbox import read_window
from tests.storage.ingester import ROWS
from tests.storage.rows import EVER, VERMONT, events, ids, send

ROOT = Path(__file__).parents[2]


def test_a_killed_writer_loses_nothing_it_acknowledged_and_halves_nothing(
    sqlite: Database, tmp_path: Path
) -> None:
    """Killed between two of its system calls, wherever that is; several times in a row."""
    for kill_after in (0, 4):
        command = [sys.executable, "-m", "tests.storage.ingester", str(sqlite.url)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        acknowledged = -1
        with subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            for line in writer.stdout:
                acknowledged = int(line)
                if acknowledged >= kill_after:
                    writer.kill()
        with sqlite.read() as session:
            window = read_window(session, VERMONT, *EVER)
            state = get_deployment(session, VERMONT)
        stored = window.numeric["x"]
        assert stored.tolist() == list(range(window.rows))
        assert window.rows % ROWS == 0
        assert window.rows >= (acknowledged + 1) * ROWS
        assert window.label is not None
        labelled = ~np.isnan(window.label)
        assert labelled[: (acknowledged + 1) * ROWS].all()
        assert (window.label[labelled] == stored[labelled] % 2).all()
        assert state is not None
        assert state.rows == window.rows
    again = list(range(window.rows))
    assert send(Identity(sqlite, "credit"), events(again), ids(*again)).duplicate.all()
