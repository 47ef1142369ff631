"""Names in the environment by which a command finds the server that it is to be tested with."""

from __future__ import annotations

from collections.abc import Iterable

ENDPOINTS = "QUORATE_TEST_ENDPOINTS"
"""`host:port,...`: tests use this server."""
MAY_WIPE = "QUORATE_TEST_MAY_WIPE"
"""`1`: they may delete everything that it holds."""


def environment(endpoints: Iterable[str], client_urls: Iterable[str]) -> dict[str, str]:
    """What a command is given beside a server that was started for it."""
    joined = ",".join(endpoints)
    return {
        "ETCDCTL_API": "3",
        "ETCDCTL_ENDPOINTS": joined,
        "ETCD_ENDPOINTS": ",".join(client_urls),
        ENDPOINTS: joined,
        MAY_WIPE: "1",
    }
