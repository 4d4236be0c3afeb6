"""What a service manager wants to be told (sd_notify), without its library.

systemd names a datagram socket in NOTIFY_SOCKET, and in WATCHDOG_USEC how long it waits for a
sign of life before it starts the service anew. Without them nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ServiceManager:
    """Where to send states; `address` "" where nobody listens, `watchdog_us` 0 for no watchdog."""

    address: str = ""
    watchdog_us: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ, *, pid: int) -> ServiceManager:
        """The manager that started this process, if one did and meant this very process."""
        meant = environment.get("WATCHDOG_PID", str(pid)) == str(pid)
        given = environment.get("WATCHDOG_USEC", "")
        watchdog_us = int(given) if meant and given.isdigit() else 0
        return cls(environment.get("NOTIFY_SOCKET", ""), watchdog_us)

    def ready(self) -> None:
        """Started, or done with reading the configuration again."""
        self._send("READY=1")

    def reloading(self, monotonic_s: float) -> None:
        """Reading the configuration again; `ready` follows."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={int(monotonic_s * 1e6)}")

    def stopping(self) -> None:
        """On the way out."""
        self._send("STOPPING=1")

    def alive(self) -> None:
        """A sign of life, where one is waited for."""
        if self.watchdog_us:
            self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.connect(address)
                sender.send(state.encode())
        except OSError as error:
            log.warning("systemd.not_told", state=state.split("=")[0], error=str(error))
