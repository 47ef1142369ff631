"""What this member tells the cluster of itself, and the version that all members agree on.

    publish      own name and client URLs, through the log, until accepted; clients are served afterwards
    monitor      the leader asks every member for its release and proposes the lowest as cluster version:
                 when it begins to lead, then every few seconds
    storage      every member's database follows the cluster version
    downgrade    the monitor lowers the cluster version once, and ends the job when every member runs the target

Everything goes into the log as etcd 3.6 writes it; members of 3.5 take that too, whatever version is decided or not.
Sources: etcd's rules for cluster and storage versions.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from quorate.api import errors
from quorate.api.pb import membership_pb2
from quorate.membership import MIN_CLUSTER_VERSION, Member, Minor, decide, parse_target, parse_version
from quorate.pkg.jsonlog import get_log
from quorate.storage import schema
from quorate.transport.http1_client import HttpClient, HttpError
from quorate.version import ETCD_VERSION

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

MONITOR_INTERVAL = 4.0
"""Seconds between two looks at the releases of all members."""
DECISION_RETRY = 0.5
"""Seconds between two such looks while none is decided and clients wait."""
PUBLISH_RETRY = 0.1
"""Seconds before own attributes are proposed once more."""
MAX_VERSION_BYTES = 64 * 1024
"""Size of an answer to /version."""

_OWN = parse_version(ETCD_VERSION)
_FIRST_VERSIONED = Minor(3, 6)
"""The first release whose database says which release's rules it follows."""
_FIRST_KNOWN = Minor(3, 5)


class IncompatibleCluster(Exception):
    """A cluster that a member of this release cannot join."""


class MemberVersions(NamedTuple):
    """What a member says of itself: its release, and what it holds for the version of its cluster."""

    server: str
    cluster: str


class Versions:
    """One member's part in agreeing on versions. `watch_for_ever` is to be spawned."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._look = asyncio.Event()
        server.cluster.version_changed = self._look.set
        server.on_leader_change.append(self._look.set)

    async def publish(self) -> None:
        """Tell the cluster this member's name and client URLs; returns once that is agreed on, and a cluster version
        too: before that no call can be served. Raises Stopped."""
        await self._publish_attributes()
        while self._server.cluster.version is None:
            await self._look_after_version()
            await self._wait(DECISION_RETRY)
        self.follow()

    async def _publish_attributes(self) -> None:
        server, config = self._server, self._server.config
        attributes = membership_pb2.Attributes(name=config.name, client_urls=config.advertise_client_urls)
        request = membership_pb2.ClusterMemberAttrSetRequest(member_ID=server.member_id, member_attributes=attributes)
        about = {
            "local_member_id": f"{server.member_id:x}",
            "cluster_id": f"{server.cluster_id:x}",
            "name": config.name,
            "client_urls": config.advertise_client_urls,
        }
        while True:
            try:
                await server.propose("cluster_member_attr_set", request)
            except errors.Stopped:
                raise
            except errors.EtcdError as err:
                log.warn("failed to publish local member to cluster through raft", error=str(err), **about)
                await asyncio.sleep(PUBLISH_RETRY)
            else:
                log.info("published local member to cluster through raft", **about)
                return

    async def watch_for_ever(self) -> None:
        """Keep versions in step until the server stops."""
        with contextlib.suppress(errors.Stopped):
            while True:
                self.follow()
                await self._look_after_version()
                await self._wait(self._interval())

    def _interval(self) -> float:
        """Seconds to the next look: while a downgrade goes on, as often as was asked for."""
        seconds = self._server.config.downgrade_check_time
        return seconds if seconds > 0 and self._server.cluster.downgrade.enabled else MONITOR_INTERVAL

    def follow(self) -> None:
        """Bring the database to the rules of the cluster version, once that is a real decision."""
        server = self._server
        current, stored = server.cluster.version, schema.get_storage_version(server.backend)
        if current is None or stored is None:
            return
        target = parse_version(current)
        if target < _FIRST_KNOWN or target == parse_version(stored):
            return
        if target < _FIRST_VERSIONED:
            schema.delete_storage_version(server.backend)
        else:
            schema.put_storage_version(server.backend, str(target))
        log.info("updated storage version", new_storage_version=str(target))

    # Downgrades, as clients ask for them. All return the cluster version as X.Y.

    async def validate_downgrade(self, target: str) -> str:
        """Could the cluster be downgraded to `target`? Raises WrongDowngradeVersionFormat, ClusterVersionUnavailable,
        InvalidDowngradeTarget, DowngradeInProcess, and what a linearizable read raises."""
        current, _ = await self._judge_downgrade(target)
        return current.short()

    async def enable_downgrade(self, target: str) -> str:
        """Begin a downgrade to `target`. Raises as `validate_downgrade` and `propose`."""
        current, wanted = await self._judge_downgrade(target)
        await self._server.propose(
            "downgrade_info_set", membership_pb2.DowngradeInfoSetRequest(enabled=True, ver=str(wanted))
        )
        log.info("the downgrade of the cluster is enabled", target_version=str(wanted))
        self._look.set()
        return current.short()

    async def cancel_downgrade(self) -> str:
        """End the downgrade, if there is one. Raises as `propose`."""
        await self._server.propose("downgrade_info_set", membership_pb2.DowngradeInfoSetRequest(enabled=False))
        self._look.set()
        version = self._server.cluster.version
        return parse_version(version).short() if version is not None else ""

    async def _judge_downgrade(self, target: str) -> tuple[Minor, Minor]:
        """The cluster version and the one to go to."""
        server = self._server
        try:
            wanted = parse_target(target)
        except ValueError:
            raise errors.WrongDowngradeVersionFormat() from None
        if server.cluster.version is None:
            raise errors.ClusterVersionUnavailable()
        await server.fresh()
        current = parse_version(server.cluster.version)
        if wanted != current.below():
            raise errors.InvalidDowngradeTarget()
        if server.cluster.downgrade.enabled:
            raise errors.DowngradeInProcess()
        return current, wanted

    # The leader's part.

    async def _look_after_version(self) -> None:
        self._look.clear()
        if self._server.is_leader:
            try:
                await self._decide()
            except errors.Stopped:
                raise
            except errors.EtcdError as err:
                log.warn("failed to update cluster version", error=str(err))

    async def _wait(self, seconds: float) -> None:
        """Until something about versions or leadership changes, or the time is over."""
        # Not `wait_for`: that one forgets a cancellation that comes together with what it waits for (CPython 86296).
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._look.wait()

    async def _decide(self) -> None:
        """Ask all members what they run, and propose what follows from it."""
        server = self._server
        found = await self._members_run()
        if not server.is_leader:
            return
        downgrade = server.cluster.downgrade
        current = None if server.cluster.version is None else parse_version(server.cluster.version)
        try:
            there = downgrade.enabled and all(release == parse_version(downgrade.target) for release in found.values())
            if there and server.config.downgrade_check_time > 0:
                log.info("the cluster has been downgraded", cluster_version=downgrade.target)
                await self.cancel_downgrade()
                return
            wanted = decide(current, found.values(), downgrade)
        except ValueError as err:
            log.error("cannot downgrade", error=str(err))
            return
        if wanted is None:
            return
        if current is None:
            log.info("setting up initial cluster version", cluster_version=str(wanted))
        else:
            log.info("updating cluster version", from_version=str(current), to_version=str(wanted))
        await server.propose("cluster_version_set", membership_pb2.ClusterVersionSetRequest(ver=str(wanted)))

    async def _members_run(self) -> dict[int, Minor | None]:
        """The release of every member, None for those that do not say."""
        server = self._server
        others = [member for member in server.cluster.members() if member.id != server.member_id]
        answers = await fetch_versions(server.http, others, server.config.dial_timeout) if others else {}
        own = parse_version(server.config.release)
        found: dict[int, Minor | None] = {server.member_id: own}
        for number, answer in answers.items():
            found[number] = _release(number, answer)
            if (release := found[number]) is not None and release > own:
                log.warn("leader found higher-versioned member", member_id=f"{number:x}", version=str(release))
        return found


# Before a member is part of the cluster.


async def fetch_versions(
    http: HttpClient, members: Iterable[Member], timeout: float
) -> dict[int, MemberVersions | None]:
    """What `members` answer on /version, by ID; None for those that do not within `timeout` seconds a URL."""
    asked = list(members)
    answers = await asyncio.gather(*(_fetch(http, member, timeout) for member in asked))
    return {member.id: answer for member, answer in zip(asked, answers, strict=True)}


def check_join(versions: Mapping[int, MemberVersions | None]) -> None:
    """May a member of this release join the members that gave these answers? Raises IncompatibleCluster when one of
    their cluster versions is out of its range, or when none of them has said any."""
    judged = False
    for number, answer in versions.items():
        try:
            cluster = parse_version(answer.cluster) if answer is not None else None
        except ValueError:
            cluster = None  # such as "not_decided": says nothing either way
        if cluster is None:
            continue
        if not MIN_CLUSTER_VERSION <= cluster <= _OWN:
            raise IncompatibleCluster(
                f"incompatible with current running cluster: member {number:x} has cluster version {cluster}, "
                f"this release joins {MIN_CLUSTER_VERSION} to {_OWN}"
            )
        judged = True
    if not judged:
        raise IncompatibleCluster("incompatible with current running cluster: no member tells its cluster version")


async def _fetch(http: HttpClient, member: Member, timeout: float) -> MemberVersions | None:
    for url in member.peer_urls:
        try:
            reply = await http.request("GET", url + "/version", timeout=timeout, body_limit=MAX_VERSION_BYTES)
            fields = json.loads(reply.body)
            return MemberVersions(str(fields["etcdserver"]), str(fields["etcdcluster"]))
        except (OSError, TimeoutError, HttpError, ValueError, TypeError, KeyError, RecursionError) as err:
            log.warn("failed to get version", remote_member_id=f"{member.id:x}", url=url, error=str(err))
    return None


def _release(number: int, answer: MemberVersions | None) -> Minor | None:
    try:
        return parse_version(answer.server) if answer is not None else None
    except ValueError as err:
        log.warn("failed to parse server version of remote member", remote_member_id=f"{number:x}", error=str(err))
        return None
