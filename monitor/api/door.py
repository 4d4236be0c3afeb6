"""Finding out who asks: the shared token, a token of the database, or a browser's session.

What was found is kept for `KEPT_S` at most, and for `MOST_KEPT` tokens at most: a token that is
revoked over HTTP ends at once in this process, everywhere else within that time.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta
from threading import Lock

import structlog
from anyio.to_thread import run_sync
from sqlalchemy.exc import DBAPIError

from monitor.api.access import Principal
from monitor.clock import Clock
from monitor.config import Config
from storage.engine import Database
from storage.tokens import (
    USE_NOTED_EVERY,
    Scope,
    Token,
    UnknownTokenError,
    any_token,
    close_browser_session,
    find_browser_session,
    find_token,
    get_token,
    hashed,
    note_use,
    open_browser_session,
)

log = structlog.get_logger(__name__)

KEPT_S = 1.0
MOST_KEPT = 1_024
SESSION_LASTS = timedelta(hours=12)
SHARED_NAME = "shared token"


class Door:
    """Asks the database who somebody is. Safe to use from every thread."""

    def __init__(self, database: Database, config: Callable[[], Config], clock: Clock) -> None:
        self._database = database
        self._config = config
        self._clock = clock
        self._kept: OrderedDict[str, tuple[Principal, float]] = OrderedDict()
        self._lock = Lock()
        self._tokens_exist = False
        self._looked_at_s = float("-inf")

    async def by_bearer(self, text: str) -> Principal | None:
        """Who shows this token, or None."""
        if self.is_shared(text):
            return _shared()
        return await self._look_up(f"bearer {hashed(text)}", lambda: self._find_token(text))

    async def by_cookie(self, secret: str) -> Principal | None:
        """Whose browser shows this cookie, or None."""
        return await self._look_up(f"cookie {hashed(secret)}", lambda: self._find_session(secret))

    async def is_open(self) -> bool:
        """Whether nobody has a token, so that nobody can be asked for one."""
        if self._config().service.token is not None or self._tokens_exist:
            return False
        now_s = self._clock.monotonic()
        if not self._looked_at_s <= now_s < self._looked_at_s + KEPT_S:
            self._tokens_exist = await run_sync(self._ask_for_tokens)
            self._looked_at_s = now_s
        return not self._tokens_exist

    def is_shared(self, text: str) -> bool:
        """Whether this is the shared token; takes the same time wherever they differ."""
        token = self._config().service.token
        if token is None:
            return False
        return hmac.compare_digest(_digest(text), _digest(token))

    def forget(self) -> None:
        """Ask anew from now on: a token was made or revoked."""
        with self._lock:
            self._kept.clear()
            self._looked_at_s = float("-inf")

    def log_in(self, text: str) -> str | None:
        """The secret of a new browser session for who shows this token, or None."""
        now = self._clock.now()
        with self._database.write() as session:
            if self.is_shared(text):
                identity, proof = "", hashed(text)
            else:
                token = find_token(session, text, now)
                if token is None:
                    return None
                identity, proof = token.id, ""
            return open_browser_session(
                session, token_id=identity, proof=proof, now=now, lasts=SESSION_LASTS
            )

    def log_out(self, secret: str) -> None:
        """End a browser session."""
        with self._database.write() as session:
            close_browser_session(session, secret)
        self.forget()

    async def _look_up(self, key: str, find: Callable[[], Principal | None]) -> Principal | None:
        now_s = self._clock.monotonic()
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None and kept[1] <= now_s < kept[1] + KEPT_S:
                self._kept.move_to_end(key)
                return kept[0]
        found = await run_sync(find)
        with self._lock:
            self._kept.pop(key, None)
            if found is not None:
                self._kept[key] = (found, now_s)
            while len(self._kept) > MOST_KEPT:
                self._kept.popitem(last=False)
        return found

    def _find_token(self, text: str) -> Principal | None:
        with self._database.read() as session:
            token = find_token(session, text, self._clock.now())
        return None if token is None else self._known(token, by_cookie=False)

    def _find_session(self, secret: str) -> Principal | None:
        now = self._clock.now()
        with self._database.read() as session:
            found = find_browser_session(session, secret, now)
            if found is None:
                return None
            identity, proof = found
            if not identity:
                return self._shared_session(proof)
            try:
                token = get_token(session, identity)
            except UnknownTokenError:
                return None
        return self._known(token, by_cookie=True) if token.is_live(now) else None

    def _shared_session(self, proof: str) -> Principal | None:
        shared = self._config().service.token
        same = shared is not None and hmac.compare_digest(hashed(shared), proof)
        return _shared(by_cookie=True) if same else None

    def _known(self, token: Token, *, by_cookie: bool) -> Principal:
        now = self._clock.now()
        if token.last_used_at is None or now - token.last_used_at >= USE_NOTED_EVERY:
            try:
                with self._database.write() as session:
                    note_use(session, token.id, now)
            except DBAPIError as error:  # when it was used is no reason to keep somebody out
                log.warning("token.use_not_noted", error=type(error.orig).__name__)
        return Principal(token.name, token.scopes, token.tenant, token.id, by_cookie=by_cookie)

    def _ask_for_tokens(self) -> bool:
        with self._database.read() as session:
            return any_token(session)


def _shared(*, by_cookie: bool = False) -> Principal:
    return Principal(SHARED_NAME, frozenset({Scope.ADMIN}), by_cookie=by_cookie)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
