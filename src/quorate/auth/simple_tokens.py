"""Simple tokens: 16 random letters, a dot, and the index of the log entry that issued them.

They are issued through the log, so every member knows every token; how long one lives is each member's own business, by
its own clock, from the last use there.
"""

from __future__ import annotations

from collections.abc import Callable

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
PREFIX_LETTERS = 16


def token_prefix(below: Callable[[int], int]) -> str:
    """The random part of a new token; `below(n)` draws a number from 0 to n-1, from dice that nobody can guess."""
    return "".join(LETTERS[below(len(LETTERS))] for _ in range(PREFIX_LETTERS))


def index_of(token: str) -> int | None:
    """The index of the entry that issued a token; None for what no token looks like."""
    _, dot, number = token.partition(".")
    if not dot or not number.isascii() or not number.isdigit() or len(number) > 20:
        return None
    return int(number)


class SimpleTokens:
    """Tokens and whose they are. `ttl` in seconds."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._tokens: dict[str, tuple[str, float]] = {}
        """User and deadline, the first to expire first."""

    def __len__(self) -> int:
        return len(self._tokens)

    def assign(self, token: str, user: str, now: float) -> None:
        self._tokens.pop(token, None)
        self._tokens[token] = (user, now + self._ttl)

    def use(self, token: str, now: float) -> str | None:
        """The user of a token, whose time begins anew; None when it is unknown or has run out."""
        found = self._tokens.pop(token, None)
        if found is None or found[1] <= now:
            return None
        self._tokens[token] = (found[0], now + self._ttl)
        return found[0]

    def expire(self, now: float) -> None:
        """Forget those that have run out."""
        while self._tokens:
            token, (_, deadline) = next(iter(self._tokens.items()))
            if deadline > now:
                return
            del self._tokens[token]

    def drop_user(self, user: str) -> None:
        self._tokens = {token: held for token, held in self._tokens.items() if held[0] != user}

    def drop_all(self) -> None:
        self._tokens.clear()
