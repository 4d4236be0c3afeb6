"""One client for all that a notifier may ask for: HTTP, mail, the apprise library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alerts.notifiers import Letter, Outgoing, Relayed
from alerts.schedule import Reply
from monitor.outgoing.addresses import Network
from monitor.outgoing.outbound import GuardedClient


@dataclass(frozen=True, slots=True)
class Sender:
    """Every way out has a deadline, a cap on what it reads and the table of refused addresses."""

    http: GuardedClient

    def send(
        self, prepared: Outgoing | Letter | Relayed, *, allowed: Sequence[Network] = ()
    ) -> Reply:
        """One attempt; says how it ended instead of raising."""
        if isinstance(prepared, Outgoing):
            return self.http.send(prepared, allowed=allowed)
        if isinstance(prepared, Letter):
            from monitor.outgoing.mail import send_letter

            return send_letter(prepared, client=self.http, allowed=allowed)
        from monitor.outgoing.relaying import relay

        return relay(prepared, clock=self.http.clock, allowed=allowed)
