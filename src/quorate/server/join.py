"""Finding the cluster that a member without data belongs to, before it makes any.

A member that joins takes its ID and its cluster's from those who are there already. A member that is to start a new
cluster asks as well: if the others know it as one that has run, its data is lost, and starting it anew under its old ID
would let it vote a second time and forget what it had promised.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from quorate.membership import Member, decode_members, new_cluster
from quorate.pkg.jsonlog import get_log
from quorate.server.config import ServerConfig
from quorate.server.versions import check_join, fetch_versions
from quorate.transport.http1_client import HttpClient, HttpError
from quorate.transport.web import find_header

log = get_log(__name__)


class BootstrapError(Exception):
    """A data directory, or a cluster, that this member cannot start from."""


class Remote(NamedTuple):
    """A cluster as one of its members describes it."""

    cluster_id: int
    members: list[Member]


class Joined(NamedTuple):
    """The cluster that this member has found its place in."""

    cluster_id: int
    member_id: int
    members: list[Member]


async def look_around(config: ServerConfig, http: HttpClient) -> Joined | None:
    """What a member without a log is to join; None for a new cluster. Raises BootstrapError, IncompatibleCluster."""
    others = [url for name, urls in config.initial_cluster.items() if name != config.name for url in urls]
    remote = await ask_members(http, others, config.dial_timeout)
    if config.joining:
        joined = _join(config, remote)
        there = [member for member in joined.members if member.id != joined.member_id]
        check_join(await fetch_versions(http, there, config.dial_timeout))
        return joined
    if remote is not None:
        _refuse_second_life(config, remote)
    return None


async def ask_members(http: HttpClient, urls: Iterable[str], timeout: float) -> Remote | None:
    """The members that the first of `urls` to answer tells of."""
    for url in urls:
        try:
            reply = await http.request("GET", f"{url}/members", timeout=timeout)
            if reply.status == 200:
                return _parse(find_header(reply.headers, "X-Etcd-Cluster-ID"), reply.body)
            log.warn("cannot learn of the members", peer=url, status=reply.status)
        except (OSError, TimeoutError, HttpError, ValueError) as err:
            log.warn("cannot learn of the members", peer=url, error=str(err) or type(err).__name__)
    return None


def _parse(cluster_id: str | None, body: bytes) -> Remote:
    """Raises ValueError."""
    return Remote(int(cluster_id or "", 16), decode_members(body))


def _join(config: ServerConfig, remote: Remote | None) -> Joined:
    """Find this member among those that the cluster knows, by its peer URLs."""
    if remote is None:
        raise BootstrapError(
            "cannot fetch cluster info from peer urls: could not retrieve cluster information from the given URLs"
        )
    if len(remote.members) != len(config.initial_cluster):
        raise BootstrapError("error validating peerURLs: member count is unequal")
    by_urls = {tuple(sorted(member.peer_urls)): member for member in remote.members}
    for name, urls in config.initial_cluster.items():
        if tuple(sorted(urls)) not in by_urls:
            known = ", ".join(sorted(url for urls in by_urls for url in urls))
            raise BootstrapError(
                f"error validating peerURLs: unmatched member {name} with {sorted(urls)}, the cluster has {known}"
            )
    own = by_urls[tuple(sorted(config.initial_cluster[config.name]))]
    log.info("joining a cluster", local_member_id=f"{own.id:x}", cluster_id=f"{remote.cluster_id:x}")
    return Joined(remote.cluster_id, own.id, remote.members)


def _refuse_second_life(config: ServerConfig, remote: Remote) -> None:
    members, cluster_id = new_cluster(config.initial_cluster, config.initial_cluster_token)
    own = next(member for member in members if member.name == config.name)
    if remote.cluster_id != cluster_id:
        return
    if any(member.id == own.id and member.client_urls for member in remote.members):
        raise BootstrapError(
            f"member {own.id:x} has already been bootstrapped: its data is lost; remove it from the "
            "cluster and add it anew"
        )
