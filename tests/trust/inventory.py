"""What the service offers, one line a route, so that a changed route shows in review.

python -m tests.trust.inventory > tests/trust/inventory.txt
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from monitor.api.access import declared_scopes
from tests.monitor.api.asking import world


def inventory(app: FastAPI) -> list[str]:
    """Method, address, scopes, and what the OpenAPI says of parameters, body and statuses."""
    described = app.openapi()["paths"]
    lines = []
    for route, scopes in declared_scopes(app):
        path = (route.path or "").replace(":path}", "}")
        needed = "+".join(sorted("open" if scope is None else scope.value for scope in scopes))
        for method in sorted(route.methods or ()):
            told = described.get(path, {}).get(method.lower())
            lines.append(" ".join([method, path, needed or "NO SCOPE", *_details(told)]))
    return sorted(lines)


def _details(told: dict[str, Any] | None) -> Iterator[str]:
    if told is None:
        yield "(not in the OpenAPI)"
        return
    query = sorted(p["name"] for p in told.get("parameters", []) if p["in"] == "query")
    if query:
        yield f"?{','.join(query)}"
    for media, content in sorted(told.get("requestBody", {}).get("content", {}).items()):
        yield f"<{content['schema'].get('$ref', media).rpartition('/')[2]}"
    yield f">{','.join(sorted(told['responses']))}"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as running:
        print("\n".join(inventory(running.app)))


if __name__ == "__main__":
    main()
