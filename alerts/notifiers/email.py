"""E-mail: a plain and an HTML part. Messages about one incident make one thread.

The Message-ID comes from the message's id, so a mail program that gets a repeat shows one. All
that comes from data is made plain before it reaches a header and escaped before it reaches HTML.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from typing import Self

from alerts import telling
from alerts.notifiers.base import ChannelError, Letter, Nothing, known, required
from alerts.records import Message, MessageType

OPTIONS = frozenset({"host", "port", "tls", "username", "secret", "sender", "to"})
PORTS = {"starttls": 587, "tls": 465, "none": 25}
RECIPIENTS = 50

# The addresses people have, not all that RFC 5321 permits; and nothing that could be a command.
_ADDRESS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,190}")


@dataclass(frozen=True, slots=True)
class Email:
    """One mail to all recipients, through one server."""

    name: str
    host: str
    port: int
    tls: str
    sender: str
    to: tuple[str, ...]
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def from_options(cls, name: str, options: Mapping[str, object]) -> Self:
        """Build from `host`, `sender`, `to`, `tls`, `port`, `username` and `secret`."""
        known(options, OPTIONS, name)
        tls = str(options.get("tls") or "starttls")
        if tls not in PORTS:
            msg = f"channel {name!r}: tls must be one of {', '.join(PORTS)}, not {tls!r}"
            raise ChannelError(msg)
        given = options.get("to")
        to = (
            (given,)
            if isinstance(given, str)
            else tuple(given)
            if isinstance(given, list | tuple)
            else ()
        )
        if not 0 < len(to) <= RECIPIENTS:
            msg = f"channel {name!r} needs 'to', a list of 1 to {RECIPIENTS} addresses"
            raise ChannelError(msg)
        sender = required(options, "sender", name)
        for address in (sender, *to):
            if not _ADDRESS.fullmatch(str(address)):
                msg = (
                    f"channel {name!r}: {str(address)[:80]!r} is no address such as ops@example.com"
                )
                raise ChannelError(msg)
        username, password = str(options.get("username") or ""), str(options.get("secret") or "")
        if bool(username) != bool(password):
            msg = f"channel {name!r}: username and the secret, its password, belong together"
            raise ChannelError(msg)
        if password and tls == "none":
            msg = f"channel {name!r}: a password is not sent in clear; set tls to starttls or tls"
            raise ChannelError(msg)
        port = int(str(options.get("port") or PORTS[tls]))
        host = required(options, "host", name)
        return cls(name, host, port, tls, sender, tuple(map(str, to)), username, password)

    def prepare(self, message: Message, now: datetime) -> Letter | Nothing:
        if message.type is MessageType.ACKNOWLEDGED:
            return Nothing("nobody is mailed that somebody has taken an incident")
        return Letter(
            self.host,
            self.port,
            self.tls,
            self.sender,
            self.to,
            self._mail(message, now).as_bytes(policy=SMTP),
            self.username,
            self.password,
        )

    def _mail(self, message: Message, now: datetime) -> EmailMessage:
        mail = EmailMessage(policy=SMTP)
        at = self.sender.rpartition("@")[2]
        mail["From"] = f"Kedge <{self.sender}>"
        mail["To"] = ", ".join(self.to)
        mail["Subject"] = telling.subject(message, 200)
        mail["Date"] = format_datetime(now)
        mail["Message-ID"] = f"<{message.id}.{self.name}@{at}>"
        if message.incident_id:
            mail["References"] = f"<{message.incident_id}@{at}>"
        # RFC 3834: no answering machine writes back.
        mail["Auto-Submitted"] = "auto-generated"
        mail["X-Kedge-Severity"] = message.severity.value
        mail.set_content(telling.text(message) + "\n", cte="quoted-printable")
        mail.add_alternative(_html(message), subtype="html", cte="quoted-printable")
        mail.set_boundary(f"=_{message.id}")
        return mail


def _html(message: Message) -> str:
    rows = "".join(
        f"<tr><td style='color:#666;padding-right:1em;vertical-align:top'>{escape(what)}</td>"
        f"<td>{escape(words)}</td></tr>"
        for what, words in telling.facts(message)
    )
    seen = "".join(f"<li>{escape(sentence)}</li>" for sentence in telling.evidence(message))
    found = " · ".join(
        f'<a href="{escape(link)}">{escape(what)}</a>'
        for what, link in telling.links(message).items()
    )
    return (
        '<!doctype html><html lang="en"><body style="font-family:sans-serif">'
        f"<h2 style='font-size:1.1em'>{escape(telling.headline(message))}</h2>"
        f"<table>{rows}</table>{f'<ul>{seen}</ul>' if seen else ''}<p>{found}</p>"
        f"<p style='color:#666;font-size:.8em'>id {escape(message.id)}</p></body></html>\n"
    )
