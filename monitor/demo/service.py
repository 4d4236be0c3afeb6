"""The daemon as a subprocess: configured, started, asked over HTTP, and always stopped."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pyarrow as pa

from monitor.clock import SystemClock
from monitor.demo.calendar import Plan
from monitor.demo.flights import SOURCE
from monitor.errors import KedgeError, UsageError

MODEL = "late-flights"
SECRET_ENV = "KEDGE_DEMO_WEBHOOK_SECRET"  # noqa: S105  # the name of a variable, no secret
START_S = 60.0
STOP_S = 30.0
REQUEST_S = 300.0
ARROW = "application/vnd.apache.arrow.stream"


class DemoError(KedgeError):
    """The demo cannot go on; the text says why and where to look."""


def new_secret() -> str:
    """A fresh whsec_ secret for this run."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def usable_port(asked: int | None) -> int:
    """The asked loopback port, or a free one; it was free a moment ago.

    Raises:
        UsageError: something listens on the asked port. Without this the demo could talk to a
            daemon that is not its own.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", asked or 0))
        except OSError as error:
            msg = f"--port {asked}: {error.strerror}; give another port, or none to get a free one"
            raise UsageError(msg) from error
        return int(probe.getsockname()[1])


def config_text(folder: Path, plan: Plan, *, port: int, webhook_url: str) -> str:
    """The `kedge.toml` of the demo. Worth reading: it is all a deployment needs."""
    review_days = (plan.live[1] - plan.live[0]).days
    return f"""\
[service]
port = {port}
database = "sqlite:///{(folder / "kedge.db").as_posix()}"
check_every = "1s"
deliver_every = "1s"
retention = "36500d"             # the flights are of 2013; keep them all
log_level = "info"

[models.{MODEL}]
task = "binary"
source_domain = "{SOURCE}"
tick = "1d"
lateness = "6h"
label_delay = "2d"
budget = "1 page / 30 d"
review = "{review_days}d"
holidays = "US"
slices = [["origin"]]

[retraining]
approval = "human"

[[channels]]
name = "on-call"
kind = "webhook"
url = "{webhook_url}"
secret_env = "{SECRET_ENV}"
allow_networks = ["127.0.0.0/8"]  # the receiver runs on this machine
"""


@dataclass(slots=True, eq=False)
class Daemon:
    """A running service and a client for it."""

    process: subprocess.Popen[bytes]
    client: httpx2.Client
    log_path: Path

    def send(self, kind: str, table: pa.Table) -> int:
        """POST rows as an Arrow stream; the number that was accepted."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        return self._accepted(
            self.client.post(
                f"/v1/{kind}",
                params={"model": MODEL},
                content=sink.getvalue().to_pybytes(),
                headers={"content-type": ARROW},
            ),
            table.num_rows,
        )

    def send_json(self, kind: str, rows: list[dict[str, Any]]) -> int:
        """POST rows as one JSON object; the number that was accepted."""
        return self._accepted(
            self.client.post(f"/v1/{kind}", json={"model": MODEL, kind: rows}), len(rows)
        )

    def _accepted(self, response: httpx2.Response, rows: int) -> int:
        counts = self._json(response)
        if counts["accepted"] != rows or counts["late"] or counts["waiting"]:
            msg = f"{rows} rows were sent, to be accepted on time; the daemon says {counts}"
            raise DemoError(msg)
        return rows

    def get(self, path: str, **params: Any) -> Any:
        """A JSON answer."""
        return self._json(self.client.get(path, params=params))

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """A deed of a person; the JSON answer."""
        return self._json(self.client.post(path, json=body))

    def get_html(self, path: str) -> str:
        """A page as text."""
        response = self.client.get(path, headers={"accept": "text/html"})
        self._refuse_errors(response)
        return response.text

    def flush(self) -> None:
        """Close every tick, as at the end of a log."""
        self._json(self.client.post("/v1/flush", json={"model": MODEL}))

    def _json(self, response: httpx2.Response) -> Any:
        self._refuse_errors(response)
        return response.json()

    def _refuse_errors(self, response: httpx2.Response) -> None:
        if response.is_error:
            request = response.request
            msg = (
                f"the daemon answered {response.status_code} to {request.method} "
                f"{request.url.path}: {response.text[:300]}"
            )
            raise DemoError(msg)


@contextlib.contextmanager
def running_daemon(
    folder: Path, plan: Plan, *, port: int, webhook_url: str, secret: str
) -> Iterator[Daemon]:
    """Start `kedge run` in a folder and stop it with SIGTERM, however the block ends."""
    config = folder / "kedge.toml"
    config.write_text(config_text(folder, plan, port=port, webhook_url=webhook_url), "utf-8")
    log_path = folder / "daemon.log"
    env = {k: v for k, v in os.environ.items() if not k.startswith("KEDGE_")}
    env[SECRET_ENV] = secret
    command = [sys.executable, "-m", "monitor", "run", "--config", str(config)]
    with (
        log_path.open("wb") as log,
        httpx2.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=REQUEST_S, trust_env=False
        ) as client,
        subprocess.Popen(  # noqa: S603  # our own interpreter, our own arguments
            command, stdout=log, stderr=log, env=env, start_new_session=True
        ) as process,
    ):
        daemon = Daemon(process, client, log_path)
        try:
            _wait_until_ready(daemon)
            yield daemon
        finally:
            _stop(process)


def _wait_until_ready(daemon: Daemon) -> None:
    clock = SystemClock()
    deadline = clock.monotonic() + START_S
    while clock.monotonic() < deadline:
        if daemon.process.poll() is not None:
            break
        with contextlib.suppress(httpx2.TransportError):
            if daemon.client.get("/readyz").status_code == httpx2.codes.OK:
                return
        time.sleep(0.1)
    tail = daemon.log_path.read_text("utf-8", errors="replace").strip().splitlines()[-5:]
    code = daemon.process.poll()
    what = "did not become ready" if code is None else f"ended with exit code {code}"
    msg = f"the daemon {what}; its last lines: {' / '.join(tail) or '(none)'}"
    raise DemoError(msg)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except BaseException as error:  # an impatient second Ctrl-C must not leave it running
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
