"""Anchors and probes over HTTP: what is kept is what files give, once, and of the right people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from kedge_client import RefusedError, Releases
from monitor.api import version_rows
from monitor.api.limits import IngestLimits
from storage.version_rows import VersionKind, VersionRows, read_version_rows
from tests.client.test_client import listening
from tests.monitor.api.asking import HOSTILE, World, world

ROWS = [
    {"id": f"a{at}", "embedding": [at / 7, -at / 3, 1.0], "label": at % 2, "score": at / 100}
    for at in range(60)
]
ARROW = {"content-type": "application/vnd.apache.arrow.stream"}


@pytest.fixture
def running(tmp_path: Path) -> Iterator[World]:
    with world(tmp_path) as found:
        yield found


def stored(running: World, kind: VersionKind = VersionKind.ANCHORS) -> tuple[VersionRows, ...]:
    with running.database.read() as session:
        return read_version_rows(session, "credit", kind)


def arrow(rows: list[dict[str, Any]]) -> bytes:
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def test_json_and_arrow_keep_the_same_rows_once(running: World) -> None:
    path = "/v1/models/credit/anchors"
    first = running.post(f"{path}?version=1", {"rows": ROWS})
    assert (first.status_code, first.json()["rows"]) == (201, 60), first.text
    second = running.client.post(f"{path}?version=2", content=arrow(ROWS), headers=ARROW)
    assert second.status_code == 201, second.text

    one, two = (each.segment for each in stored(running))
    assert one.id_lo.tolist() == two.id_lo.tolist()
    for name in ("embedding", "label", "score"):
        assert np.array_equal(getattr(one.window, name), getattr(two.window, name))

    again = running.client.post(f"{path}?version=1", content=arrow(ROWS[::-1]), headers=ARROW)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    other = running.post(f"{path}?version=1", {"rows": ROWS[:59]})
    assert other.status_code == 409
    assert len(stored(running)) == 2
    shown = running.get("/v1/models/credit/versions").json()
    assert [each["state"] for each in shown["anchors"]] == ["ok"]
    page = running.get("/models/credit/versions", accept="text/html").text
    assert page.count('<svg class="plot"') == 2
    assert "Newest: version 2, 1." in page
    assert ">2</td>" in running.get("/versions", accept="text/html").text


def test_names_of_versions_are_text_on_their_page(running: World) -> None:
    for version in ("1", HOSTILE):
        reply = running.client.post(
            "/v1/models/credit/anchors", params={"version": version}, json={"rows": ROWS}
        )
        assert reply.status_code == 201
    page = running.get("/models/credit/versions", accept="text/html").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("rows", "status", "says"),
    [
        ([{"id": "a", "embedding": [1.0, 2.0]}, {"id": "b", "embedding": [1.0]}], 422, "1, 2"),
        ([{"id": "a"}], 422, "0 numbers"),
        ([{"id": "a", "embedding": [1.0]}] * 2, 422, "come twice"),
        ([{"id": "", "embedding": [1.0]}], 422, "0 characters"),
        ([{"id": "a", "embedding": [1.0], "label": 2}], 422, "0 or 1"),
        ([{"id": "a", "embedding": [1.0], "score": 1.5}], 422, "from 0 to 1"),
        ([{"id": "a", "embedding": [1e39]}], 422, "not finite"),
        ([{"id": "a", "embedding": ["x"]}], 400, "cannot be read"),
        ([{"id": "a", "embeding": [1.0]}], 400, "embeding"),
        ([], 422, "0 rows"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line_and_nothing_is_kept(
    shared: World, rows: list[dict[str, Any]], status: int, says: str
) -> None:
    reply = shared.post("/v1/models/credit/anchors?version=1", {"rows": rows})

    assert reply.status_code == status, reply.text
    assert says in " ".join(reply.json().values())
    assert stored(shared) == ()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world(tmp_path_factory.mktemp("versions")) as found:
        yield found


def test_bodies_are_bounded_in_bytes_and_rows(
    shared: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = IngestLimits(rows=3, inflated_bytes=4_000)
    monkeypatch.setattr(version_rows, "LIMITS", few)
    path = "/v1/models/credit/anchors?version=1"

    many = shared.client.post(path, content=arrow(ROWS[:4]), headers=ARROW)
    long = shared.post(path, {"rows": ROWS})

    assert (many.status_code, long.status_code) == (413, 413)
    assert (
        shared.client.post(path, content=b"id,x", headers={"content-type": "text/csv"})
        .json()["error"]
        .startswith("content type 'text/csv'")
    )


def test_the_client_sends_a_release_and_says_what_was_refused(running: World) -> None:
    with listening(running) as url:
        release = Releases(url, model="credit")
        assert release.anchors("1", ROWS) == 60
        assert release.probe({"id": row["id"], "label": row["label"]} for row in ROWS) == 60
        assert release.probe_scores("1", [{"id": "a1", "score": np.float64(0.25)}]) == 1
        with pytest.raises(RefusedError, match="not in the probe set") as refused:
            release.probe_scores("2", [{"id": "stranger", "score": 0.5}])
        assert refused.value.status == 422
        with pytest.raises(RefusedError, match="Did you mean 'credit'") as unknown:
            Releases(url, model="credt").probe(ROWS[:1])
    assert unknown.value.status == 404
    (scores,) = stored(running, VersionKind.PROBE_SCORES)
    assert scores.segment.window.score is not None
    assert scores.segment.window.score.tolist() == [0.25]
