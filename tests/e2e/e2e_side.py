"""One cluster with clients on every member and all streams open; half of a pair."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from e2e_generator import STREAMS
from e2e_names import Names, member_id
from e2e_rpc import Answer, Client, Connect, Stream, connect_plain, wait_until

from quorate.api.pb import rpc_pb2 as pb

PATIENCE = 20.0
PROGRESS_TRIES = 40
CHUNK_BYTES = 32768
PAGE_BYTES = 512
"""What the size of every database file is a multiple of."""


class Different(AssertionError):
    """The two members do not agree, or one breaks a guarantee of its own."""


@dataclass
class Watcher:
    """One watch on one side: what it asked and everything it was told."""

    request: Any
    created: Any = None
    ended: Any = None
    events: list[Any] = field(default_factory=list)

    @property
    def start(self) -> int:
        """First revision it is owed."""
        return self.request.start_revision or self.created.header.revision + 1

    def wants(self, event: Any) -> bool:
        key, end = self.request.key or b"\0", self.request.range_end
        inside = event.kv.key == key if not end else event.kv.key >= key and (end == b"\0" or event.kv.key < end)
        unwanted = 1 if event.type == event.DELETE else 0
        return inside and unwanted not in self.request.filters and event.kv.mod_revision >= self.start


class Side:
    """A cluster with its open streams. Everything received is sorted into Watchers by `pump`.

    Streams 0 to STREAMS - 1 are for random watches and spread over the members; behind them each member has one more,
    with a watch of everything.
    """

    def __init__(self, endpoints: Sequence[str], connect: Connect = connect_plain) -> None:
        self.clients = [Client(endpoint, connect) for endpoint in endpoints]
        self.size = len(endpoints)
        self.names = self._learn_names()
        hosts = [self.clients[number % self.size] for number in range(STREAMS)] + self.clients
        self.streams: list[Stream] = [client.watch() for client in hosts]
        self.alive: list[dict[int, Watcher]] = [{} for _ in self.streams]
        self.creating: list[list[Watcher]] = [[] for _ in self.streams]
        self.progress: list[list[int]] = [[] for _ in self.streams]
        self.compacted: set[tuple[int, int]] = set()
        self.keep_alives = [client.keep_alive() for client in self.clients]
        self._read = [0] * len(self.streams)
        everything = pb.WatchRequest(create_request={"key": b"\0", "range_end": b"\0", "start_revision": 1})
        self.masters = [self.create(STREAMS + number, everything) for number in range(self.size)]

    def _learn_names(self) -> Names:
        listed = self.clients[0].call("MemberList", pb.MemberListRequest())
        assert listed.ok, listed
        names = Names(listed.message.header.cluster_id)
        found = {member.ID: member for member in listed.message.members}
        for client in self.clients:
            status = client.call("Status", pb.StatusRequest())
            assert status.ok, status
            member = found[status.message.header.member_id]
            names.add(member.ID, member.peerURLs[0], member.clientURLs[0])
        return names

    def close(self) -> None:
        for stream in (*self.streams, *self.keep_alives):
            stream.close()
        for client in self.clients:
            client.close()

    def call(self, kind: str, member: int, message: Any) -> Answer:
        """One RPC to one member, with this cluster's own names in the request."""
        if kind == "KeepAlive":
            return self._renew(member, message)
        if kind == "Snapshot":
            return _checked_snapshot(self.clients[member].snapshot())
        return self.clients[member].call(kind, self.names.addressed(message), timeout=PATIENCE)

    def sync(self, member: int) -> int:
        """The revision of this member, once it has applied all that was answered before."""
        request = pb.RangeRequest(key=b"\0", limit=1, count_only=True)
        answer = self.clients[member].call("Range", request, timeout=PATIENCE)
        if not answer.ok:
            raise Different(f"{self.clients[member].endpoint} does not catch up: {answer}")
        return int(answer.message.header.revision)

    def leader(self) -> int:
        """Number of the member that all members take for the leader."""
        found: set[int] = set()

        def agreed() -> bool:
            answers = [client.call("Status", pb.StatusRequest()) for client in self.clients]
            found.clear()
            found.update(answer.message.leader if answer.ok else 0 for answer in answers)
            return len(found) == 1 and found != {0}

        if not wait_until(agreed, PATIENCE, 0.05):
            raise Different(f"the members of {self.clients[0].endpoint} do not agree on a leader")
        return self.names.number(found.pop())

    def move_leader(self, number: int) -> None:
        """Make this member the leader; returns when all know it."""

        def moved() -> bool:
            leader = self.leader()
            if leader != number:
                request = pb.MoveLeaderRequest(targetID=self.names.actual_id(member_id(number)))
                self.clients[leader].call("MoveLeader", request)
            return leader == number

        if not wait_until(moved, PATIENCE, 0.05):
            raise Different(f"{self.clients[number].endpoint} does not become the leader")

    def create(self, stream: int, request: Any) -> Watcher:
        """Open a watch and wait for the answer."""
        made = Watcher(request.create_request)
        self.creating[stream].append(made)
        self.streams[stream].send(request)
        self.wait(lambda: made.created is not None, "a created response")
        return made

    def cancel(self, stream: int, request: Any) -> Watcher | None:
        """Cancel and wait for the answer; an unknown ID gets none.

        One that a compaction has ended is left alone: 3.5.1 still knows it and answers, newer releases do not.
        """
        if (stream, request.cancel_request.watch_id) in self.compacted:
            return None
        found = self.alive[stream].get(request.cancel_request.watch_id)
        self.streams[stream].send(request)
        if found is not None:
            self.wait(lambda: found.ended is not None, "a canceled response")
        return found

    def ask_progress(self, stream: int, request: Any, revision: int) -> None:
        """Ask until the stream reports the present revision: a stream that is not in sync may keep silent."""
        have = len(self.progress[stream])
        for _ in range(PROGRESS_TRIES):
            self.streams[stream].send(request)
            if wait_until(lambda: self.pump() or self.progress[stream][have:], PATIENCE / PROGRESS_TRIES):
                break
        if self.progress[stream][-1:] != [revision]:
            raise Different(f"progress of stream {stream}: {self.progress[stream][have:]}, store is at {revision}")

    def _renew(self, member: int, request: Any) -> Answer:
        stream = self.keep_alives[member]
        have = len(stream.received)
        stream.send(request)
        if not stream.wait(lambda got: len(got) > have, PATIENCE):
            return stream.ended or Answer(None, -1, "no keepalive answer")
        return Answer(stream.received[have])

    def wait(self, condition: Any, what: str) -> None:
        if not wait_until(lambda: self.pump() or condition(), PATIENCE, 0.001):
            ends = [stream.ended for stream in self.streams if stream.ended is not None]
            raise Different(f"{self.clients[0].endpoint}: {what} did not come in {PATIENCE} s; ended streams: {ends}")

    def pump(self) -> None:
        """Sort what has arrived."""
        for number, stream in enumerate(self.streams):
            received = stream.received
            while self._read[number] < len(received):
                message = received[self._read[number]]
                self._read[number] += 1
                self._route(number, message)

    def _route(self, stream: int, message: Any) -> None:
        if message.created:
            watcher = self.creating[stream].pop(0)
            watcher.created = message
            if message.canceled:
                watcher.ended = message
            else:
                self.alive[stream][message.watch_id] = watcher
        elif message.watch_id == -1 and not message.canceled:
            self.progress[stream].append(message.header.revision)
        else:
            found = self.alive[stream].get(message.watch_id)
            if found is None:
                raise Different(f"{self.clients[0].endpoint}: response for a watch that is not open: {message}")
            if message.canceled:
                found.ended = message
                if message.compact_revision:
                    self.compacted.add((stream, message.watch_id))
                del self.alive[stream][message.watch_id]
            _check_delivery(found, message)
            found.events.extend(message.events)


def _check_delivery(watcher: Watcher, message: Any) -> None:
    """What each response must hold by itself: order, no repeat, one revision never split, header not behind."""
    last = watcher.events[-1].kv.mod_revision if watcher.events else 0
    for event in message.events:
        revision = event.kv.mod_revision
        if revision < last or (watcher.events and revision == watcher.events[-1].kv.mod_revision):
            raise Different(f"event at {revision} after {last}, or a revision split in two responses: {message}")
        if revision > message.header.revision:
            raise Different(f"event ahead of its header: {message}")
        if not watcher.wants(event):
            raise Different(f"event nobody asked for: {event} by {watcher.request}")
        last = revision


def _checked_snapshot(answer: Answer) -> Answer:
    """The answer to Status, so to say, of a snapshot: empty when the file came whole and its messages are in order."""
    if not answer.ok:
        return answer
    *chunks, last = answer.message
    left = sum(len(chunk.blob) for chunk in chunks)
    digest = hashlib.sha256()
    for chunk in chunks:
        left -= len(chunk.blob)
        digest.update(chunk.blob)
        if chunk.remaining_bytes != left or len(chunk.blob) > CHUNK_BYTES:
            raise Different(f"{len(chunk.blob)} bytes of a snapshot, remaining {chunk.remaining_bytes} and not {left}")
    if last.blob != digest.digest() or last.remaining_bytes:
        raise Different("the last message of a snapshot is not the sum of the others")
    if sum(len(chunk.blob) for chunk in chunks) % PAGE_BYTES:
        raise Different("the file of a snapshot has no whole pages")
    return Answer(pb.SnapshotResponse())
