"""What members tell each other in header fields, and which members talk to each other at all."""

from __future__ import annotations

import re
from collections.abc import Callable

from quorate.rafthttp.host import Identity

INCOMPATIBLE_VERSION = "incompatible version"
CLUSTER_MISMATCH = "cluster ID mismatch"

FIRST_VERSION = "2.0.0"
"""The release of a member that does not name one: that one had no such field."""

_VERSION = re.compile(r"(\d{1,9})\.(\d{1,9})\.\d")
_ID = re.compile(r"[0-9a-fA-F]{1,16}")

Minor = tuple[int, int]


def request_headers(identity: Identity) -> list[tuple[str, str]]:
    """Fields of every request to another member."""
    return [
        ("X-Server-From", f"{identity.member_id:x}"),
        ("X-Server-Version", identity.server_version),
        ("X-Min-Cluster-Version", identity.min_cluster_version),
        ("X-Etcd-Cluster-ID", f"{identity.cluster_id:x}"),
        ("X-PeerURLs", ",".join(identity.peer_urls)),
    ]


def stream_headers(identity: Identity, to: int) -> list[tuple[str, str]]:
    """Fields of a request for a stream from member `to`."""
    return [*request_headers(identity), ("X-Raft-To", f"{to:x}")]


def refusal(identity: Identity, header: Callable[[str], str | None]) -> str | None:
    """Why a request must not be served, or None. `header` looks a field up by its name in lower case."""
    remote = parse_version(header("x-server-version") or FIRST_VERSION)
    remote_minimum = parse_version(header("x-min-cluster-version") or FIRST_VERSION)
    own, minimum = parse_version(identity.server_version), parse_version(identity.min_cluster_version)
    assert own is not None and minimum is not None
    if remote is None or remote_minimum is None or remote < minimum or remote_minimum > own:
        return INCOMPATIBLE_VERSION
    if not is_of_cluster(identity, header("x-etcd-cluster-id")):
        return CLUSTER_MISMATCH
    return None


def is_of_cluster(identity: Identity, cluster_id: str | None) -> bool:
    """Does an answer with this X-Etcd-Cluster-ID come from a member of the own cluster? Others answer there too: what
    has the address now, a proxy on the way."""
    return cluster_id == f"{identity.cluster_id:x}"


def parse_version(text: str) -> Minor | None:
    """Major and minor of a version, None when it is none."""
    found = _VERSION.match(text)
    return (int(found[1]), int(found[2])) if found else None


def parse_id(text: str | None) -> int | None:
    """A member ID in hexadecimal, None when it is none."""
    return int(text, 16) if text and _ID.fullmatch(text) else None
