"""Refusals of whole requests, as one JSON object a person can act on."""

from __future__ import annotations

from fastapi.responses import JSONResponse

from monitor.errors import KedgeError


class RequestRefusedError(KedgeError):
    """A request that cannot be taken: an HTTP status, what is wrong, and what to try.

    Nothing of the request was stored. `retry_after_s` is set where trying again later helps.
    """

    def __init__(self, status: int, error: str, hint: str, *, retry_after_s: int | None = None):
        super().__init__(f"{error}; {hint}")
        self.status = status
        self.error = error
        self.hint = hint
        self.retry_after_s = retry_after_s


def refusal_response(refused: RequestRefusedError) -> JSONResponse:
    """`{"error": …, "hint": …}` with its status, and Retry-After where it helps."""
    headers = {} if refused.retry_after_s is None else {"Retry-After": str(refused.retry_after_s)}
    if refused.status == 413:
        headers["Connection"] = "close"
    return JSONResponse(
        {"error": refused.error, "hint": refused.hint}, status_code=refused.status, headers=headers
    )
