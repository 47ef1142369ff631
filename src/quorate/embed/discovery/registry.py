"""What the two registries have in common: a size, and members in the order in which they came.

    .../_config/size       how many members the new cluster is to have: a decimal number
    .../<member ID, hex>   name=peerURL,name=peerURL...: one of them

A member that is not among the first `size` has come too late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from quorate.embed.discovery.errors import BAD_PEER_URL, BAD_SIZE, FULL, SIZE_NOT_FOUND, DiscoveryError
from quorate.membership import parse_initial_cluster
from quorate.pkg.jsonlog import get_log

log = get_log(__name__)

FIRST_REST = 1.0
LONGEST_REST = 256.0
"""Seconds before a registry that did not answer is asked again: twice as many after each time."""

T = TypeVar("T")


def entry(name: str, urls: Sequence[str]) -> str:
    """What a member says of itself."""
    return ",".join(f"{name}={url}" for url in urls)


def parse_size(text: str | None) -> int:
    """Raises DiscoveryError."""
    if text is None:
        raise DiscoveryError(SIZE_NOT_FOUND)
    if not text.isdecimal() or not int(text):
        raise DiscoveryError(BAD_SIZE)
    return int(text)


def founders(found: Sequence[tuple[str, str]], size: int, own: str) -> dict[str, str] | None:
    """The entries of the first `size` of `found`, which are (ID, entry) as they came. None while there are fewer.

    Raises DiscoveryError when there are as many and `own` is not among them.
    """
    first = dict(found[:size])
    if len(first) >= size and own not in first:
        raise DiscoveryError(FULL)
    return first if len(first) >= size else None


def cluster_of(entries: Mapping[str, str]) -> dict[str, list[str]]:
    """Peer URLs by name. Raises DiscoveryError."""
    try:
        cluster = parse_initial_cluster(",".join(entries.values()))
    except ValueError as err:
        raise DiscoveryError(f"{BAD_PEER_URL}: {err}") from None
    if len(cluster) != len(entries):
        raise DiscoveryError("discovery: found duplicate name")
    return cluster


async def again(ask: Callable[[], Awaitable[T]], failures: tuple[type[Exception], ...], where: str) -> T:
    """The answer of `ask`, however often that fails to come."""
    rest = FIRST_REST
    while True:
        try:
            return await ask()
        except failures as err:
            words = str(err) or type(err).__name__
            log.warn("failed to ask the discovery service", service=where, error=words, retry_after=f"{rest:g}s")
        await asyncio.sleep(rest)
        rest = min(2 * rest, LONGEST_REST)
