"""The process that apprise runs in: one order on standard input, one exit code. See `relaying`."""

from __future__ import annotations

import json
import sys
from typing import Any

from monitor.outgoing.addresses import parse_address, parse_networks, why_refused
from monitor.outgoing.relaying import FAILED, REFUSED, SENT, UNREADABLE


def main() -> int:
    """Send what standard input orders."""
    order = json.load(sys.stdin)
    allowed = parse_networks(order["allowed"])
    refused: list[str] = []

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in {"socket.connect", "socket.sendto"}:
            return
        address = arguments[1]
        if not isinstance(address, tuple):
            why = "a socket of this host"
        elif arguments[0].type == SOCK_DGRAM and address[1] == DNS_PORT:
            return
        else:
            why = why_refused(parse_address(str(address[0])), allowed)
        if why:
            refused.append(why)
            raise PermissionError(why)

    from socket import SOCK_DGRAM

    import apprise

    sys.addaudithook(watch)
    relay = apprise.Apprise()
    if not relay.add(order["url"]):
        return UNREADABLE
    sent = relay.notify(body=order["text"], title=order["title"])
    if refused:
        return REFUSED
    return SENT if sent else FAILED


DNS_PORT = 53

if __name__ == "__main__":
    sys.exit(main())
