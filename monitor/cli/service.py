"""Talking to a running daemon: its address, the token, and errors as one line."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote, urlsplit

import click

from monitor.errors import KedgeError, NotAllowedError, UsageError

if TYPE_CHECKING:
    import httpx2

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:8321"
PATIENCE_S = 120.0
"""A report of a wide model takes seconds, on a busy machine tens of them."""


class Service:
    """One daemon. Requests are made one after the other over one connection."""

    def __init__(self, url: str, token: str | None = None) -> None:
        import httpx2

        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            msg = f"--url {url}: not an address; give one such as {DEFAULT_URL}"
            raise UsageError(msg)
        self.url = url.rstrip("/")
        self._client = httpx2.Client(
            base_url=self.url,
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(PATIENCE_S, connect=5.0),
            trust_env=parts.hostname not in {"127.0.0.1", "localhost", "::1"},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **params: object) -> Any:
        """A JSON object. `params` that are None are left out."""
        given = {name: str(value) for name, value in params.items() if value is not None}
        return _json(self._checked("GET", path, params=given), self.url)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The JSON answer to a JSON body."""
        return _json(self._checked("POST", path, json=dict(body)), self.url)

    def send(self, path: str, body: bytes, content_type: str, **params: str) -> httpx2.Response:
        """The answer to raw bytes, whatever its status."""
        headers = {"Content-Type": content_type}
        return self._request("POST", path, content=body, headers=headers, params=params)

    def _checked(self, method: str, path: str, **options: Any) -> httpx2.Response:
        response = self._request(method, path, **options)
        raise_for_problem(response, self.url)
        return response

    def _request(self, method: str, path: str, **options: Any) -> httpx2.Response:
        import httpx2

        try:
            return self._client.request(method, path, **options)
        except httpx2.ConnectError as error:
            msg = f"no daemon answers at {self.url}; start it with `kedge run` or give --url"
            raise KedgeError(msg) from error
        except httpx2.TimeoutException as error:
            msg = f"{self.url} did not answer in time; look at its /healthz, then try again"
            raise KedgeError(msg) from error
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            msg = f"talking to {self.url} failed ({type(error).__name__}); is it Kedge's address?"
            raise KedgeError(msg) from error


def raise_for_problem(response: httpx2.Response, url: str) -> None:
    """Turn a refusal into the error that its status means.

    Raises:
        NotAllowedError: for 401 and 403.
        KedgeError: for every other status from 400 on, in the daemon's own words.
    """
    if response.status_code < 400:
        return
    body = _json(response, url)
    words = "; ".join(str(body[key]) for key in ("error", "hint") if body.get(key))
    if response.status_code in {401, 403}:
        raise NotAllowedError(words)
    raise KedgeError(words or f"{url} answered {response.status_code}")


def _json(response: httpx2.Response, url: str) -> Any:
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        msg = f"{url} answers {response.status_code}, but not as Kedge does; give its --url"
        raise KedgeError(msg)
    return value


def segment(text: str) -> str:
    """A name as one segment of an address."""
    return quote(text.encode(errors="replace"), safe="")


def service_option(command: F) -> F:
    """Add --url; the command gets an open `service`, closed when it returns."""

    @wraps(command)
    def with_service(**given: Any) -> Any:
        with Service(given.pop("url"), os.environ.get("KEDGE_TOKEN") or None) as service:
            return command(service=service, **given)

    wrapped: Any = click.option(
        "--url",
        envvar="KEDGE_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        help="Address of the daemon; its token is taken from KEDGE_TOKEN.",
    )(with_service)
    result: F = wrapped
    return result
