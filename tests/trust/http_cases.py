"""Requests generated from the OpenAPI by schemathesis, put to the running application."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode

from tests.monitor.api.asking import World

BOTH = [GenerationMode.POSITIVE, GenerationMode.NEGATIVE]


def put_generated(
    running: World, *, examples: int, start: int, tell: Callable[[str], None] = lambda _: None
) -> Counter[str]:
    """Up to `examples` good and bad requests for every route; how often each status came.

    Raises:
        AssertionError: a status that is not described or means a failure of ours, an error that is
            not in its shape, or a success that is not JSON as described.
    """
    raw = running.app.openapi()
    schema = schemathesis.openapi.from_dict(raw)
    ended: Counter[str] = Counter()
    for found in schema.get_all_operations():
        operation: Any = cast("Any", found).ok()
        place = f"{operation.method.upper()} {operation.path}"
        described = set(raw["paths"][operation.path][operation.method]["responses"])
        for mode in BOTH:

            @seed(start)
            @settings(
                max_examples=examples,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def put(case: Any) -> None:
                reply = send(running, case)  # called before the next one is made
                status = str(reply.status_code)
                ended[status] += 1
                check(place, described, reply)  # noqa: B023

            # A route without parameters and body has no request that does not fit it.
            with suppress(Unsatisfiable), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                put()
        tell(place)
    return ended


def send(running: World, case: Any) -> Any:
    """The request of a case, through the test client."""
    arguments = case.as_transport_kwargs(base_url="http://127.0.0.1:8321")
    headers = {
        name: value
        for name, value in dict(arguments.get("headers") or {}).items()
        if name.lower() not in {"host", "content-length", "transfer-encoding"}
    }
    given: dict[str, Any] = {"headers": headers, "params": arguments.get("params")}
    if arguments.get("json") is not None:
        given["content"] = json.dumps(arguments["json"])
        headers.setdefault("content-type", "application/json")
    elif arguments.get("data") is not None:
        data = arguments["data"]
        given["content"] = data if isinstance(data, bytes) else str(data).encode()
    running.client.cookies.clear()
    return running.client.request(case.method, arguments["url"], **given)


def check(place: str, described: set[str], reply: Any) -> None:
    """What must hold of every reply."""
    status = str(reply.status_code)
    said = f"{place}: {status} {reply.text[:300]!r} to {reply.request.url}"
    assert reply.status_code < 500 or status == "503", said
    # These come before any route: an address no route has, or a method it has not.
    assert status in described | {"400", "404", "405", "413", "415"}, said
    media = reply.headers.get("content-type", "")
    if reply.status_code >= 400 and status != "503":
        assert media == "application/json", said
        assert {"error", "hint"} <= set(reply.json()), said
        assert len(reply.text) < 20_000, said
        assert "Traceback" not in reply.text, said
