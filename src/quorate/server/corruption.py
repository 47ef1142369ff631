"""Do all members hold the same? Hashes of their stores, compared, and the CORRUPT alarm where they differ.

    at start        own hash beside those of the others at that revision; a member that differs does not serve
    periodic        the leader's hash now, twice with a linearizable read between, beside the others' at that revision
    compactions     hashes that every member keeps of the last compactions: they compare however far apart members are

Only the leader compares, so that one member raises the alarm. Hashes say something only at the same revision and the
same compacted revision; what could not be compared is reported as such and never counts as equal.

Source: etcd's corruption checks.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from quorate.api import errors
from quorate.api.pb import rpc_pb2
from quorate.membership import Member
from quorate.pkg.jsonlog import get_log
from quorate.server import peer_calls
from quorate.storage.mvcc.hashes import HashResult

if TYPE_CHECKING:
    from quorate.server.member import Server

log = get_log(__name__)

WHOLE_CLUSTER = 0
"""Member ID of an alarm when nobody can say whose data is wrong."""


class CorruptionError(Exception):
    """This member holds other data than the others."""


class PeerHash(NamedTuple):
    """What one of the others answered: its hash and its store's revision, or why there is none."""

    member_id: int
    found: HashResult | None
    current_revision: int
    reason: str = ""


class Corruption:
    """The checks of one member. `run_for_ever` is to be spawned."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._checked_revision = 0
        """Newest compaction whose hash was found equal on all members."""

    async def check_at_start(self) -> None:
        """If so configured: compare with the other members, to be called before clients are served.

        Raises CorruptionError when another member holds something else. One that cannot be reached, or compared,
        keeps nobody from starting.
        """
        if not self._server.config.initial_corrupt_check:
            return
        own = await self._server.hash_kv(0)
        log.info("starting initial corruption check", **self._about(own))
        mismatches = 0
        for peer in await self._peer_hashes(own.revision):
            reason = _why_incomparable(own, peer)
            if reason:
                log.warn("cannot compare hashes with a member", **self._about(own, peer), reason=reason)
            elif peer.found is not None and peer.found.hash != own.hash:
                log.error("found different hash values from remote peer", **self._about(own, peer))
                mismatches += 1
        if mismatches:
            raise CorruptionError(f"{self._server.member_id:x} found data inconsistency with peers")
        log.info("initial corruption checking passed; no corruption", **self._about(own))

    async def run_for_ever(self) -> None:
        """The leader's checks, each in its own interval; to be cancelled."""
        config = self._server.config
        loops = []
        if config.corrupt_check_time > 0:
            loops.append(self._every(config.corrupt_check_time, self.check))
        if config.compact_hash_check and config.compact_hash_check_time > 0:
            loops.append(self._every(config.compact_hash_check_time, self.check_compactions))
        await asyncio.gather(*loops)

    async def _every(self, seconds: float, check: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            if self._server.is_leader:
                try:
                    await check()
                except errors.EtcdError as err:
                    log.warn("a corruption check could not be finished", error=str(err))

    async def check(self) -> None:
        """Compare what this leader holds now with the others. Raises what a linearizable read and a proposal raise."""
        server = self._server
        own = await server.hash_kv(0)
        peers = await self._peer_hashes(own.revision)
        await server.fresh()
        again = await server.hash_kv(0)
        if again != own and again[1:] == own[1:]:
            log.error("found hash mismatch with itself", **self._about(own), hash_again=again.hash)
            await self._raise_alarms([server.member_id])
            return
        suspects = set()
        for peer in peers:
            if peer.found is None:
                log.warn("cannot compare hashes with a member", **self._about(own, peer), reason=peer.reason)
            elif complaint := _complaint(again, server.store.revision, peer):
                log.error(complaint, **self._about(own, peer))
                suspects.add(peer.member_id)
        members_by_hash, _ = self._by_hash(own, peers)
        if len(members_by_hash) > 1:
            self._log_mismatch(own, members_by_hash)
            minority = _minority(members_by_hash, len(peers) + 1)
            # Without a majority the leader's own hash is as good as any.
            suspects.update(_outside(members_by_hash, own.hash) if minority is None else minority)
        await self._raise_alarms(sorted(suspects))
        log.info("finished peer corruption check", number_of_peers_checked=sum(p.found is not None for p in peers))

    async def check_compactions(self) -> None:
        """Compare the hashes of the last compactions, the newest first, until one was compared on all members.

        Raises what a proposal raises.
        """
        found = [own for own in reversed(self._server.store.hashes.all()) if own.revision > self._checked_revision]
        for own in found:
            peers = await self._peer_hashes(own.revision)
            if not peers or await self._compare(own, peers):
                break
        log.info("finished compaction hash check", number_of_hashes=len(found))

    async def _compare(self, own: HashResult, peers: list[PeerHash]) -> bool:
        """True when this revision was compared on all members, or the alarm was raised."""
        members_by_hash, skipped = self._by_hash(own, peers)
        for peer in skipped:
            log.warn("skipped peer's hash", **self._about(own, peer), reason=_why_incomparable(own, peer))
        if len(members_by_hash) == 1:
            if not skipped:
                log.info("successfully checked hash on whole cluster", **self._about(own))
                self._checked_revision = own.revision
            return not skipped
        self._log_mismatch(own, members_by_hash)
        minority = _minority(members_by_hash, len(peers) + 1)
        await self._raise_alarms([WHOLE_CLUSTER] if minority is None else minority)
        return True

    def _by_hash(self, own: HashResult, peers: list[PeerHash]) -> tuple[dict[int, list[int]], list[PeerHash]]:
        """Members by hash, this one among them, and those that cannot be compared."""
        members_by_hash = defaultdict(list, {own.hash: [self._server.member_id]})
        skipped = []
        for peer in peers:
            if peer.found is None or _why_incomparable(own, peer):
                skipped.append(peer)
            else:
                members_by_hash[peer.found.hash].append(peer.member_id)
        return members_by_hash, skipped

    async def _peer_hashes(self, revision: int) -> list[PeerHash]:
        """What the other members answer, asked all at once."""
        cluster = self._server.cluster
        others = [member for member in cluster.members() if member.id != cluster.local_id and member.peer_urls]
        return await asyncio.gather(*(self._peer_hash(member, revision) for member in others))

    async def _peer_hash(self, member: Member, revision: int) -> PeerHash:
        server = self._server
        try:
            found, current_revision = await peer_calls.hash_kv(
                server.http, member.peer_urls, server.cluster_id, revision, server.config.request_timeout
            )
        except errors.FutureRevision:
            return PeerHash(member.id, None, 0, "it has not reached the revision yet")
        except errors.Compacted:
            return PeerHash(member.id, None, 0, "it has compacted the revision")
        except (errors.ClusterIdMismatch, peer_calls.PeerCallError) as err:
            return PeerHash(member.id, None, 0, str(err))
        return PeerHash(member.id, found, current_revision)

    async def _raise_alarms(self, member_ids: Sequence[int]) -> None:
        action = rpc_pb2.AlarmRequest.ACTIVATE
        for member_id in member_ids:
            if (member_id, rpc_pb2.CORRUPT) not in self._server.alarms.active(rpc_pb2.CORRUPT):
                request = rpc_pb2.AlarmRequest(action=action, memberID=member_id, alarm=rpc_pb2.CORRUPT)
                await self._server.propose("alarm", request)

    def _log_mismatch(self, own: HashResult, members_by_hash: dict[int, list[int]]) -> None:
        by_hash = {str(found): [f"{member:x}" for member in members] for found, members in members_by_hash.items()}
        log.error("detected hash mismatch", members_by_hash=by_hash, **self._about(own))

    def _about(self, own: HashResult, peer: PeerHash | None = None) -> dict[str, object]:
        """Fields of a log line."""
        fields: dict[str, object] = {
            "local_member_id": f"{self._server.member_id:x}",
            "local_member_revision": own.revision,
            "local_member_compact_revision": own.compact_revision,
            "local_member_hash": own.hash,
        }
        if peer is not None:
            fields["remote_peer_id"] = f"{peer.member_id:x}"
        if peer is not None and peer.found is not None:
            fields["remote_peer_revision"] = peer.found.revision
            fields["remote_peer_compact_revision"] = peer.found.compact_revision
            fields["remote_peer_hash"] = peer.found.hash
        return fields


def _why_incomparable(own: HashResult, peer: PeerHash) -> str:
    """Why two hashes say nothing about each other; empty when they do."""
    if peer.found is None:
        return peer.reason
    if peer.found.revision != own.revision:
        return "its hash is of another revision"
    if peer.found.compact_revision != own.compact_revision:
        return "its compacted revision is another one"
    return ""


def _complaint(again: HashResult, current_revision: int, peer: PeerHash) -> str:
    """What is wrong with a member's state, judged by the leader's after it; empty if nothing is.

    A follower only has what its leader had before it: nothing newer, and nothing compacted further.
    """
    if peer.current_revision > current_revision:
        return "revision from follower must be less than or equal to leader's"
    if peer.found is not None and peer.found.compact_revision > again.compact_revision:
        return "compact revision from follower must be less than or equal to leader's"
    return ""


def _minority(members_by_hash: dict[int, list[int]], cluster_size: int) -> list[int] | None:
    """Members whose hash is not that of a majority of the cluster; None when no hash is."""
    for found, members in members_by_hash.items():
        if len(members) > cluster_size // 2:
            return _outside(members_by_hash, found)
    return None


def _outside(members_by_hash: dict[int, list[int]], found: int) -> list[int]:
    return sorted(member for other, members in members_by_hash.items() if other != found for member in members)
