"""The members a cluster begins with, as `--initial-cluster` names them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from quorate.membership.ids import cluster_id, member_id
from quorate.pkg.urls import parse_urls
from quorate.storage.schema import MemberRecord


def parse_initial_cluster(text: str) -> dict[str, list[str]]:
    """Peer URLs, sorted, by member name from "name=url,name=url2,other=url". Raises ValueError.

    A name may come several times, once for each of its URLs; no URL may come twice.
    """
    urls: dict[str, list[str]] = {}
    for item in text.split(","):
        name, _, url = item.strip().partition("=")
        if name or url:
            urls.setdefault(name, []).append(url)
    if len({url for found in urls.values() for url in found}) < sum(map(len, urls.values())):
        raise ValueError(f"initial cluster {text} has duplicate url")
    return {name: parse_urls(",".join(found)) for name, found in urls.items()}


def new_cluster(initial_cluster: Mapping[str, Sequence[str]], token: str) -> tuple[list[MemberRecord], int]:
    """The members, by ID, and the cluster's ID. Raises ValueError when two members come to one ID."""
    members = sorted(
        MemberRecord(member_id(urls, token), tuple(sorted(urls)), name=name) for name, urls in initial_cluster.items()
    )
    for one, other in pairwise(members):
        if one.id == other.id:
            raise ValueError(f"member exists with identical ID {one.id:x}: {one.name} and {other.name}")
    return members, cluster_id(member.id for member in members)
