"""Logs: one event a line, `noun.verb`, UTC, JSON where nobody watches; secrets never in them.

Everything that is logged, by Kedge or by the libraries it stands on, goes through one chain to
standard error. `Metrics` (metrics.py) is the other half of telemetry.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from monitor.metrics import Metrics

__all__ = ["Metrics", "configure_logging", "scrubbed"]

HIDDEN = "***"
CHATTY = {
    "apscheduler": logging.ERROR,
    "alembic": logging.WARNING,
    "uvicorn": logging.WARNING,
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
}
_SECRET_KEY = re.compile(
    r"(^|_)(token|secret|password|passwd|authorization|api_?key|signature)$", re.IGNORECASE
)
_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Up to the last @ of a word: passwords hold "/" and "@" where somebody forgot to encode them.
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s/:@]*):[^\s]+@", re.IGNORECASE), rf"\1:{HIDDEN}@"),
    (re.compile(r"(\bhttps?://)[^\s/:@]+@", re.IGNORECASE), rf"\1{HIDDEN}@"),
    (re.compile(r"\b(kdg_[a-z0-9]{12})_[A-Za-z0-9_-]{16,}"), rf"\1_{HIDDEN}"),
    (
        re.compile(
            r"([?&;](?:[\w.-]*(?:token|secret|password|key|signature|sig|auth)))=[^&;#\s\"']+",
            re.IGNORECASE,
        ),
        rf"\1={HIDDEN}",
    ),
    (re.compile(r"\bwhsec_[A-Za-z0-9+/=_-]+"), f"whsec_{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"(hooks\.slack\.com/services)/[^\s\"']+"), rf"\1/{HIDDEN}"),
)
_DEEPEST = 6


def configure_logging(level: str = "info", json: bool | None = None) -> None:
    """Send all logs to standard error from `level` on; `json` None: unless it is a terminal.

    Calling it again replaces the set-up before, as a reload of the configuration does.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    threshold = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.StackInfoRenderer(),
        _traceback(as_json=as_json),
        scrub,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                _renderer(as_json=as_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(threshold)
    # At "info" these say every second that nothing happened; the scheduler warns of each look
    # that a long check makes it skip, which is what it is told to do.
    for name, least in CHATTY.items():
        logging.getLogger(name).setLevel(max(threshold, least))


def _traceback(*, as_json: bool) -> Processor:
    """Tracebacks without local variables: those hold rows and secrets."""
    if not as_json:
        return structlog.processors.format_exc_info
    transformer = structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=20)
    return structlog.processors.ExceptionRenderer(transformer)


def _renderer(*, as_json: bool) -> Processor:
    if as_json:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


def scrub(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: secrets out of every value."""
    return {key: _scrubbed_value(key, value, 0) for key, value in event.items()}


def scrubbed(text: str) -> str:
    """Text without passwords in URLs, secret parameters, bearer tokens and signing secrets."""
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text


def _scrubbed_value(key: str, value: Any, depth: int) -> Any:
    if isinstance(value, (str, bytes)) and _SECRET_KEY.search(key):
        return HIDDEN
    if isinstance(value, str):
        return scrubbed(value)
    if depth >= _DEEPEST:
        return value
    if isinstance(value, Mapping):
        return {k: _scrubbed_value(str(k), item, depth + 1) for k, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_scrubbed_value("", item, depth + 1) for item in value]
    return value
