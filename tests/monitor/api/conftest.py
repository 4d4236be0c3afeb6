from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.monitor.serving import Service, serving


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for a table of cases that do not see each other's rows."""
    with serving(tmp_path_factory.mktemp("shared")) as running:
        yield running
