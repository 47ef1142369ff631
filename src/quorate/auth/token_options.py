"""What `--auth-token` says: `simple`, or `jwt,sign-method=RS256,pub-key=FILE,priv-key=FILE,ttl=10m`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from quorate.pkg.goflag import parse_duration

DEFAULT_TOKEN_TTL = 300.0
"""Seconds that a token lives: a simple one since its last use, a signed one since it was signed."""

SIMPLE, SIGNED = "simple", "jwt"
SIGN_METHODS = frozenset(
    [*(kind + size for kind in ("RS", "PS", "ES", "HS") for size in ("256", "384", "512")), "EdDSA"]
)
_KNOWN = frozenset(("sign-method", "pub-key", "priv-key", "ttl"))


class InvalidAuthOptions(Exception):
    """Nobody can be given a token by these; the text says so as etcd does, and why."""

    def __init__(self, why: str, text: str = "auth: invalid auth options") -> None:
        super().__init__(text)
        self.why = why


@dataclass(frozen=True, slots=True)
class TokenOptions:
    """How tokens are made. Keys are the bytes of their files, empty when none was named; `ttl` in seconds."""

    kind: str = SIMPLE
    ttl: float = DEFAULT_TOKEN_TTL
    sign_method: str = ""
    public_key: bytes = b""
    private_key: bytes = b""
    unknown: tuple[str, ...] = ()
    """Options that were given and mean nothing."""

    def __repr__(self) -> str:
        return f"TokenOptions({self.kind} {self.sign_method})"  # keys must not end up in a log


def parse_token_options(text: str, read: Callable[[str], bytes]) -> TokenOptions:
    """Options from their text; `read(path)` gives a file's bytes. Raises InvalidAuthOptions."""
    kind, *rest = text.split(",")
    given: dict[str, str] = {}
    for item in rest:
        name, separator, value = item.partition("=")
        if not separator or "=" in value or name in given:
            raise InvalidAuthOptions(f"cannot read {name!r}")
        given[name] = value
    if kind == SIMPLE:
        return TokenOptions()
    if kind != SIGNED:
        raise InvalidAuthOptions(f"unknown kind {kind!r}")
    method = given.get("sign-method", "")
    if method not in SIGN_METHODS:
        raise InvalidAuthOptions(f"unknown sign-method {method!r}")
    try:
        return TokenOptions(
            SIGNED,
            parse_duration(given["ttl"]) if given.get("ttl") else DEFAULT_TOKEN_TTL,
            method,
            read(given["pub-key"]) if given.get("pub-key") else b"",
            read(given["priv-key"]) if given.get("priv-key") else b"",
            tuple(sorted(given.keys() - _KNOWN)),
        )
    except (OSError, ValueError) as err:
        raise InvalidAuthOptions(str(err)) from None
