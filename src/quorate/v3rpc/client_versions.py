"""Which versions of the API callers say that they speak, and how often each was heard."""

from __future__ import annotations

from collections.abc import Iterator

UNKNOWN = "unknown"
"""Of a caller that does not say."""
MAX_VERSIONS = 64
"""Different ones that are counted apart; a caller can make up any number of them."""


class Calls:
    """Calls that named one version."""

    __slots__ = ("stream", "unary")

    def __init__(self) -> None:
        self.unary = 0
        self.stream = 0


class ClientVersions:
    """Calls by the version that their metadata named."""

    def __init__(self) -> None:
        self._by_version: dict[str, Calls] = {}

    def of(self, version: str | None) -> Calls:
        """Where calls of a version are counted."""
        version = version or UNKNOWN
        calls = self._by_version.get(version)
        if calls is None:
            if len(self._by_version) >= MAX_VERSIONS:
                version = UNKNOWN
            calls = self._by_version.setdefault(version, Calls())
        return calls

    def all(self) -> Iterator[tuple[str, str, int]]:
        """Version, `unary` or `stream`, and how many calls; only where there were some."""
        for version, calls in self._by_version.items():
            for kind, count in (("unary", calls.unary), ("stream", calls.stream)):
                if count:
                    yield version, kind, count
