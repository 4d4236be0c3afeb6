import subprocess
import sys
from pathlib import Path

import pytest

from storage.engine import Database
from storage.one_writer import SecondWriterError, only_writer
from tests.storage.test_crash import ROOT

HOLD = """
import sys, time
from storage.engine import open_database
from storage.one_writer import only_writer
with only_writer(open_database(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_process_is_refused_until_the_first_is_gone_however_it_went(
    sqlite: Database,
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(sqlite.url)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with (
            pytest.raises(SecondWriterError, match=f"in use by process {first.pid}; stop that one"),
            only_writer(sqlite),
        ):
            pass
        first.kill()
        first.wait()
    for _ in range(2):
        with only_writer(sqlite):
            assert Path(f"{sqlite.path}.lock").read_text().strip().isdigit()


@pytest.mark.postgres
def test_postgres_is_shared(postgres: Database) -> None:
    with only_writer(postgres), only_writer(postgres):
        pass
