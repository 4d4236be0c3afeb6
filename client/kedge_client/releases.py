"""What a training pipeline tells Kedge at a release: anchors embedded again, the probe scored.

Unlike `Client` this waits for the daemon and raises: a release may stop where a server must not.
"""

from __future__ import annotations

import gzip
import http.client
import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from kedge_client.encode import to_line
from kedge_client.sender import MOST_REPLY_BYTES, dial, read_refusal

TIMEOUT_S = 60.0


class RefusedError(RuntimeError):
    """The daemon did not take the rows; `status` is its reply code."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(f"{status} {words}".strip())
        self.status = status


class Releases:
    """Sends the fixed rows of a model's versions. The same rows sent again change nothing.

    Each method returns how many rows the daemon holds. RefusedError where it took none, OSError
    where it cannot be reached, ValueError where the address or a row cannot be meant.
    """

    def __init__(
        self, url: str, *, model: str, token: str | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._dial = dial(url, timeout_s)
        self._path = f"{self._dial.path}/v1/models/{quote(model, safe='')}"
        self._token = token

    def anchors(self, version: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Each row with `id` and `embedding`, and `label` and `score` where they are known."""
        return self._post("anchors", version, rows)

    def probe(self, rows: Iterable[Mapping[str, Any]]) -> int:
        """Each row of the source with `id` and `label`; once for a model."""
        return self._post("probe", None, rows)

    def probe_scores(self, version: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Each row of the probe with `id` and `score`."""
        return self._post("probe/scores", version, rows)

    def _post(self, kind: str, version: str | None, rows: Iterable[Mapping[str, Any]]) -> int:
        lines = b",".join(to_line(row).rstrip(b"\n") for row in rows)
        body = gzip.compress(b'{"rows":[' + lines + b"]}", compresslevel=1, mtime=0)
        query = "" if version is None else "?" + urlencode({"version": version})
        headers = {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "User-Agent": "kedge-client",
        }
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        connection = self._dial.connect()
        try:
            connection.request("POST", f"{self._path}/{kind}{query}", body, headers)
            reply = connection.getresponse()
            text = reply.read(MOST_REPLY_BYTES)
        except http.client.HTTPException as error:
            msg = f"{type(error).__name__}: {error}"
            raise ConnectionError(msg) from error
        finally:
            connection.close()
        if reply.status not in {200, 201}:
            raise RefusedError(reply.status, read_refusal(text))
        return int(json.loads(text)["rows"])
