"""What must hold before the service listens: nobody from elsewhere without a good token."""

from __future__ import annotations

from monitor.config import Config
from monitor.errors import NotAllowedError

LEAST_CHARACTERS = 20
LEAST_DISTINCT = 8
KNOWN_WORDS = ("changeme", "change-me", "change_me", "password", "secret", "example", "your-token")
"""Words of examples and defaults; a token made of one is no secret."""


def refuse_open_door(config: Config, *, tokens: bool) -> None:
    """Only this machine may come in without a token; `tokens`: the database has a live one.

    Raises:
        NotAllowedError: if the service would be open to others, or closed to everybody.
    """
    service = config.service
    if not service.is_loopback and service.token is None and not tokens:
        msg = (
            f"service.host {service.host} is open to other machines and there is no token; make "
            f"one with `kedge token create`, put one in the environment variable "
            f"{service.token_env}, or listen on 127.0.0.1"
        )
        raise NotAllowedError(msg)


def refuse_weak_token(config: Config) -> None:
    """The shared token must be worth guessing for longer than anybody lives.

    Raises:
        NotAllowedError: it is short, repeats itself, or is a default of some example.
    """
    token = config.service.token
    if token is None:
        return
    why = ""
    if len(token) < LEAST_CHARACTERS:
        why = f"has {len(token)} characters, {LEAST_CHARACTERS} are the least"
    elif len(set(token)) < LEAST_DISTINCT:
        why = "repeats a few characters"
    elif any(word in token.lower() for word in KNOWN_WORDS):
        why = "holds a word of examples"
    if why:
        msg = (
            f"the token in {config.service.token_env} {why}; `openssl rand -base64 32` makes a "
            "good one"
        )
        raise NotAllowedError(msg)


def anonymous_words(config: Config, *, tokens: bool) -> str:
    """What to say at the start where anybody at this machine may do everything, else ""."""
    service = config.service
    if service.token is not None or tokens:
        return ""
    words = (
        f"no token was ever made: whoever reaches {service.host}:{service.port} on this machine "
        "may do everything; `kedge token create` ends that"
    )
    if service.public_url:
        words += f"; so may everybody behind the proxy of {service.public_url}"
    return words
