"""kill -9 in the middle of writing, twenty times over one data dir: what was acknowledged stays, nothing else appears.

Each writer owns its keys and sends one request at a time, so what a key may hold after a kill is known exactly: the
last acknowledged state, or the state of the one request that was under way. Acknowledged revisions are checked against
a watch of the whole history.
"""

from __future__ import annotations

import os
import random
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from e2e_generator import prefix_end
from e2e_rpc import Client, first_get, wait_until

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.process import MemberProcess

ROUNDS = int(os.environ.get("QUORATE_E2E_KILLS", "20"))
WRITERS = 6
KEYS_EACH = 12
RECOVERY = 2.0
"""How much longer a start with data may take than a first start, on the same machine in the same run."""
PATIENCE = 30.0

State = tuple[bytes, int] | None
"""Value and lease of a key, or None when it does not exist."""


@dataclass
class Writer:
    """One client thread's own keys and leases, and what it knows of them."""

    number: int
    dice: random.Random
    keys: dict[bytes, State] = field(default_factory=dict)
    leases: dict[int, bool] = field(default_factory=dict)
    maybe_keys: dict[bytes, State] = field(default_factory=dict)
    maybe_lease: tuple[int, bool] | None = None
    acknowledged: dict[int, dict[bytes, bytes | None]] = field(default_factory=dict)
    sent: set[bytes] = field(default_factory=set)
    counter: int = 0
    newest: int = 0
    refused: list[str] = field(default_factory=list)

    def key(self) -> bytes:
        return b"w%d/%d" % (self.number, self.dice.randrange(KEYS_EACH))

    def value(self) -> bytes:
        """Never sent before by anyone."""
        self.counter += 1
        made = b"%d-%d-" % (self.number, self.counter) + b"x" * self.dice.choice([0, 10, 200, 3000])
        self.sent.add(made)
        return made

    def work(self, client: Client, stop: threading.Event) -> None:
        """Until the member dies: the last request stays as a `maybe`."""
        while not stop.is_set():
            if not self.dice.choices([self._put, self._delete, self._txn, self._lease], [10, 2, 4, 2])[0](client):
                return

    def _put(self, client: Client) -> bool:
        alive = [lease for lease, there in self.leases.items() if there]
        lease = self.dice.choice(alive) if alive and self.dice.random() < 0.3 else 0
        key, value = self.key(), self.value()
        return self._write(client, "Put", pb.PutRequest(key=key, value=value, lease=lease), {key: (value, lease)})

    def _delete(self, client: Client) -> bool:
        key = self.key()
        return self._write(client, "DeleteRange", pb.DeleteRangeRequest(key=key), {key: None})

    def _txn(self, client: Client) -> bool:
        keys = list({self.key() for _ in range(3)})
        become: dict[bytes, State] = {}
        ops = []
        for key in keys:
            if self.dice.random() < 0.8:
                value = self.value()
                become[key] = (value, 0)
                ops.append(pb.RequestOp(request_put=pb.PutRequest(key=key, value=value)))
            else:
                become[key] = None
                ops.append(pb.RequestOp(request_delete_range=pb.DeleteRangeRequest(key=key)))
        known = self.keys.get(keys[0])
        guard = (
            pb.Compare(key=keys[0], target=pb.Compare.VALUE, result=pb.Compare.EQUAL, value=known[0])
            if known
            else (pb.Compare(key=keys[0], target=pb.Compare.VERSION, result=pb.Compare.EQUAL, version=0))
        )
        return self._write(client, "Txn", pb.TxnRequest(compare=[guard], success=ops), become)

    def _lease(self, client: Client) -> bool:
        alive = [lease for lease, there in self.leases.items() if there]
        if len(alive) > 3:
            lease = self.dice.choice(alive)
            gone: dict[bytes, State] = {k: None for k, state in self.keys.items() if state and state[1] == lease}
            self.maybe_lease = (lease, False)
            if not self._write(client, "LeaseRevoke", pb.LeaseRevokeRequest(ID=lease), gone):
                return False
            self.leases[lease] = False
        else:
            self.counter += 1
            lease = self.number * 1_000_000 + self.counter
            self.maybe_lease = (lease, True)
            if not self._write(client, "LeaseGrant", pb.LeaseGrantRequest(ID=lease, TTL=100_000), {}):
                return False
            self.leases[lease] = True
        self.maybe_lease = None
        return True

    def _write(self, client: Client, method: str, request: Any, become: dict[bytes, State]) -> bool:
        self.maybe_keys = become
        answer = client.call(method, request, timeout=PATIENCE)
        if not answer.ok:
            self.refused.append(f"{method}: {answer.code} {answer.text}")
            return False
        if method == "Txn" and not answer.message.succeeded:
            self.refused.append(f"own compare failed: {request}")
            return False
        changed = {key: state for key, state in become.items() if state is not None or self.keys.get(key) is not None}
        revision = answer.message.header.revision
        if revision < self.newest:
            self.refused.append(f"revision went from {self.newest} to {revision}")
            return False
        self.newest = revision
        if changed:
            self.acknowledged[revision] = {key: state and state[0] for key, state in changed.items()}
        self.keys.update(become)
        self.maybe_keys = {}
        return True


def test_no_acknowledged_write_is_lost_and_none_appears_from_nowhere(
    seed: int, start_member: Callable[..., MemberProcess]
) -> None:
    dice = random.Random(seed)
    first = statistics.median(_start(start_member(name="first", run=False), and_stop=True) for _ in range(3))
    member = start_member()
    writers = [Writer(n, random.Random(dice.random())) for n in range(WRITERS)]
    history: dict[int, dict[bytes, bytes | None]] = {}
    starts: list[float] = []
    for number in range(ROUNDS):
        compact = max(history, default=0)
        compacted = _write_until_killed(member, writers, dice, compact, number)
        member.flags = ["--snapshot-count=100"] if number % 3 else []  # most lives with many snapshots and short logs
        starts.append(_start(member))
        with Client(member.endpoint) as client:
            newest = max(writer.newest for writer in writers)
            store = client.everything()
            assert store.header.revision >= newest, (
                f"round {number}: acknowledged {newest}, now {store.header.revision}"
            )
            _check_history(client, history, writers, store.header.revision)
            _check_state(store, client, writers, number)
            _check_leases(client, writers, number)
            if compacted:
                old = client.get(b"any", revision=compact - 1)
                assert old.text == "etcdserver: mvcc: required revision has been compacted", f"round {number}: {old}"
    member.stop()
    writes = sum(len(writer.acknowledged) for writer in writers)
    print(f"{ROUNDS} kills, {writes} acknowledged writes, revision {max(history, default=1)}")
    print(f"start to first get, seconds: {first:.2f} without data;", " ".join(f"{s:.2f}" for s in starts))
    assert statistics.median(starts) < RECOVERY * first, (first, starts)


def _write_until_killed(
    member: MemberProcess, writers: list[Writer], dice: random.Random, compact: int, number: int
) -> bool:
    """Let them write for a moment, compact what was checked before, kill. True when the compaction was acknowledged."""
    seconds, compacted = dice.uniform(0.05, 0.6), False
    stop = threading.Event()
    with Client(member.endpoint) as one, Client(member.endpoint) as two:
        before = [len(writer.acknowledged) for writer in writers]
        threads = [threading.Thread(target=w.work, args=((one, two)[w.number % 2], stop)) for w in writers]
        for thread in threads:
            thread.start()
        end = time.monotonic() + seconds
        while time.monotonic() < end or all(len(w.acknowledged) == b for w, b in zip(writers, before, strict=True)):
            time.sleep(0.005)
            early = [w.refused for w in writers if w.refused]
            assert not early, f"round {number}: refused before the kill: {early}"
            if compact > 1 and not compacted:
                compacted = one.call("Compact", pb.CompactionRequest(revision=compact)).ok
                assert compacted, f"round {number}: compaction at {compact} refused"
        member.kill()
        stop.set()
        for thread in threads:
            thread.join(PATIENCE)
    for writer in writers:
        odd = [text for text in writer.refused if " 14 " not in text]
        assert not odd, f"round {number}: {odd}"
        writer.refused.clear()
    return compacted


def _start(member: MemberProcess, *, and_stop: bool = False) -> float:
    """Seconds from the start of the process to the first successful linearizable get."""
    begun = time.monotonic()
    member.spawn()
    served = first_get(member.endpoint, begun + PATIENCE)
    assert served, f"does not serve after {PATIENCE} s; status {member.exit_status()}\n{member.log()[-3000:]}"
    seconds = time.monotonic() - begun
    if and_stop:
        member.stop()
    return seconds


def _check_state(store: Any, client: Client, writers: list[Writer], number: int) -> None:
    """Every key holds its acknowledged state, or all keys of one request under way hold what it asked for."""
    found: dict[bytes, State] = {kv.key: (kv.value, kv.lease) for kv in store.kvs}
    for writer in writers:
        prefix = b"w%d/" % writer.number
        mine = {key: state for key, state in found.items() if prefix <= key < prefix_end(prefix)}
        known = {key: state for key, state in writer.keys.items() if state is not None}
        after = {key: state for key, state in {**writer.keys, **writer.maybe_keys}.items() if state is not None}
        assert mine in (known, after), (
            f"round {number}, writer {writer.number}, revision {store.header.revision}\n"
            f"differs from acknowledged in {_unequal(mine, known)}\n"
            f"and from the request under way in {_unequal(mine, after)}"
        )
        writer.keys = dict(mine)


def _unequal(left: dict[bytes, State], right: dict[bytes, State]) -> dict[bytes, Any]:
    both = left.keys() | right.keys()
    return {k: (_brief(left.get(k)), _brief(right.get(k))) for k in both if left.get(k) != right.get(k)}


def _brief(state: State) -> Any:
    return state and (state[0][:24], state[1])


def _check_leases(client: Client, writers: list[Writer], number: int) -> None:
    answer = client.call("LeaseLeases", pb.LeaseLeasesRequest())
    assert answer.ok, answer
    found = {lease.ID for lease in answer.message.leases}
    for writer in writers:
        if writer.maybe_lease is not None:
            lease, _ = writer.maybe_lease
            writer.leases[lease] = lease in found
            writer.maybe_lease = None
        writer.maybe_keys = {}
        mine = {lease for lease in found if lease // 1_000_000 == writer.number and lease % 1_000_000}
        known = {lease for lease, there in writer.leases.items() if there}
        assert mine == known, f"round {number}, writer {writer.number}: lost {known - mine}, appeared {mine - known}"


def _check_history(client: Client, history: dict[int, Any], writers: list[Writer], newest: int) -> None:
    """Replay everything since the last check: each acknowledged write stands at its revision, each value was sent."""
    start = max(history, default=1) + 1
    if newest < start:
        return
    with client.watch() as stream:
        everything = pb.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=start)
        stream.send(pb.WatchRequest(create_request=everything))
        complete = stream.wait(
            lambda got: got[-1:] and got[-1].events and got[-1].events[-1].kv.mod_revision >= newest, PATIENCE
        )
        assert complete, f"history ends before {newest}"
        events = [event for message in stream.received for event in message.events]
    for event in events:
        value = None if event.type == event.DELETE else event.kv.value
        history.setdefault(event.kv.mod_revision, {})[event.kv.key] = value
        assert value is None or any(value in writer.sent for writer in writers), f"nobody sent {event}"
    for revision in range(start, newest + 1):
        assert revision in history, f"revision {revision} is missing"
    for writer in writers:
        for revision, became in writer.acknowledged.items():
            if revision >= start:
                assert history.get(revision) == became, f"at {revision}: {history.get(revision)}, acknowledged {became}"


def test_a_log_of_several_segments_is_whole_after_a_kill(start_member: Callable[..., MemberProcess]) -> None:
    """More than two segments of 64 MB, killed in the middle of writing."""
    member = start_member()
    acknowledged: dict[bytes, bytes] = {}
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            key, value = b"k%d" % (number % 40), b"%06d" % number * 175_000
            if not client.put(key, value).ok:
                return
            acknowledged[key] = value
            number += 1

    with Client(member.endpoint) as client:
        thread = threading.Thread(target=write)
        thread.start()
        wal = member.data_dir / "member" / "wal"
        assert wait_until(lambda: len(list(wal.glob("*.wal"))) >= 3, 60)
        member.kill()
        stop.set()
        thread.join()
    seconds = _start(member)
    with Client(member.endpoint) as client:
        for key, value in acknowledged.items():
            found = client.get(key).message.kvs[0].value
            assert found >= value, f"{key!r}: {found[:6]!r} is older than {value[:6]!r}"
        assert client.put(b"after", b"x").ok
    print(f"{len(acknowledged)} keys, start to first get {seconds:.2f} s")
