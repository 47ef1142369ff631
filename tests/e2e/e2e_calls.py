"""The rarer calls of the random operations: alarms, maintenance, members, locks, elections, health.

Only such that are answered at once and leave both clusters running: nobody queues behind somebody else, one alarm is on
at a time (3.5.1 forgets all when one of several is cleared), members that are added are never started and leave again.
"""

from __future__ import annotations

import random
from typing import Any

from e2e_names import member_id, peer_url
from google.protobuf.message import Message

from quorate.api.pb import election_pb2, health_pb2, lock_pb2
from quorate.api.pb import rpc_pb2 as pb

Call = tuple[str, Message]

STRANGERS = [0, 1, 7, (1 << 63) - 1, (1 << 64) - 1]
"""IDs that no member has."""
BAD_URLS = [
    "", "nonsense", "ftp://127.0.0.1:1", "http://127.0.0.1", "http://127.0.0.1:1/path", "://", "http://",
    "http://a b:1", "http://a\t:1", "http://a%20b:1", "http://u v@127.0.0.1:1", "http://127.0.0.1:1#%z", "http://[::1]a:1",
    "http://a|b:1", "http://127.0.0.1:x",
]  # fmt: skip
BAD_VERSIONS = ["", "x", "3", "3.5.0.0", "v3.4", "3.5", "1.0", "9.9", "3.5.0", "-1.2", "3.x"]
LOCKS = [b"lock/a", b"lock/b", b"lock\xff"]
"""None a directory of another: they would wait for each other."""
ELECTIONS = [b"vote/a", b"vote/b"]
WORDS = [b"", b"me", b"you"]


class CallGenerator:
    """Draws from the dice it is given."""

    def __init__(self, dice: random.Random, members: int) -> None:
        self._dice = dice
        self._members = members
        self._alarm: tuple[int, int] | None = None
        self._owners: dict[bytes, int] = {}
        """Lease that holds or last held a lock or an election."""
        self._leaders: dict[bytes, Any] = {}
        self._added = 0
        self._extra: tuple[int, bool] | None = None
        """The member that was added and not removed, and whether it is a learner."""

    def draw(self, leases: list[int]) -> Call:
        """The next call; `leases` are those that exist."""
        if self._alarm is not None and self._chance(0.2):
            return self._alarm_off()
        kinds = [
            (2, self._alarm_call), (3, self._status), (2, self._member_list), (3, self._member_change), (1, self._hash),
            (0.4, self._defragment), (0.3, self._snapshot), (1.5, self._move_leader), (1.5, self._downgrade),
            (1, self._health),
        ]  # fmt: skip
        if leases:
            queues = [
                (4, self._lock), (2, self._unlock), (4, self._campaign), (3, self._proclaim), (2, self._leader),
                (2, self._resign),
            ]  # fmt: skip
            self._leases = leases
            kinds += queues
        made = self._dice.choices([make for _, make in kinds], [weight for weight, _ in kinds])[0]
        return made()

    @property
    def is_full(self) -> bool:
        """Whether the alarm NOSPACE is on."""
        return self._alarm is not None and self._alarm[1] == pb.NOSPACE

    def learn(self, kind: str, request: Any, answer: Any) -> None:
        """Take note of what was done."""
        if kind == "Alarm":
            self._learn_alarm(request)
        elif kind == "MemberAdd":
            self._extra = member_id(self._members + self._added), request.isLearner
            self._added += 1
        elif kind == "MemberRemove":
            self._extra = None
        elif kind in ("Lock", "Campaign"):
            self._owners[request.name] = request.lease
            if kind == "Campaign":
                self._leaders[request.name] = answer.leader
        elif kind == "LeaseRevoke":
            self._owners = {name: lease for name, lease in self._owners.items() if lease != request.ID}

    def _learn_alarm(self, request: Any) -> None:
        if request.action == pb.AlarmRequest.ACTIVATE and request.alarm:
            self._alarm = request.memberID, request.alarm
        elif request.action == pb.AlarmRequest.DEACTIVATE and self._alarm == (request.memberID, request.alarm):
            self._alarm = None

    def _chance(self, share: float) -> bool:
        return self._dice.random() < share

    def _any_id(self) -> int:
        if self._chance(0.5):
            return member_id(self._dice.randrange(self._members))
        return self._dice.choice(STRANGERS)

    # Maintenance.

    def _alarm_call(self) -> Call:
        alarm = self._dice.choice([pb.NONE, pb.NOSPACE, pb.CORRUPT])
        if self._chance(0.4):
            return "Alarm", pb.AlarmRequest(action=pb.AlarmRequest.GET, memberID=self._any_id(), alarm=alarm)
        if self._alarm is not None or self._chance(0.3):
            return "Alarm", pb.AlarmRequest(
                action=pb.AlarmRequest.DEACTIVATE, memberID=self._dice.choice(STRANGERS), alarm=alarm
            )
        # Of a member of the cluster, the member would take it back by itself.
        return "Alarm", pb.AlarmRequest(
            action=pb.AlarmRequest.ACTIVATE, memberID=self._dice.choice(STRANGERS), alarm=alarm
        )

    def _alarm_off(self) -> Call:
        assert self._alarm is not None
        owner, alarm = self._alarm
        return "Alarm", pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE, memberID=owner, alarm=alarm)

    def _status(self) -> Call:
        return "Status", pb.StatusRequest()

    def _hash(self) -> Call:
        return "Hash", pb.HashRequest()

    def _defragment(self) -> Call:
        return "Defragment", pb.DefragmentRequest()

    def _snapshot(self) -> Call:
        return "Snapshot", pb.SnapshotRequest()

    def _move_leader(self) -> Call:
        target = self._any_id()
        if self._extra is not None and self._chance(0.3):
            number, learner = self._extra
            target = number if learner else target
        return "MoveLeader", pb.MoveLeaderRequest(targetID=target)

    def _downgrade(self) -> Call:
        action = self._dice.choice(
            [pb.DowngradeRequest.VALIDATE, pb.DowngradeRequest.ENABLE, pb.DowngradeRequest.CANCEL, 9]
        )
        return "Downgrade", pb.DowngradeRequest(action=action, version=self._dice.choice(BAD_VERSIONS))

    def _health(self) -> Call:
        return "Check", health_pb2.HealthCheckRequest(service=self._dice.choice(["", "", "x", "etcdserverpb.KV"]))

    # Members.

    def _member_list(self) -> Call:
        return "MemberList", pb.MemberListRequest(linearizable=self._chance(0.5))

    def _member_change(self) -> Call:
        kind = self._dice.randrange(10)
        if kind < 3:
            return self._member_add()
        if kind < 6 and self._extra is not None:
            return "MemberRemove", pb.MemberRemoveRequest(ID=self._extra[0])
        if kind < 7:
            return "MemberRemove", pb.MemberRemoveRequest(ID=self._dice.choice(STRANGERS))
        if kind < 8:
            return "MemberPromote", pb.MemberPromoteRequest(ID=self._promotable())
        return self._member_update()

    def _member_add(self) -> Call:
        learner = self._chance(0.6) or self._members == 1
        if (
            self._extra is not None and not self._extra[1]
        ):  # one more would end the quorum, or is refused by 3.5.1 alone
            return self._member_list()
        urls = [f"http://127.0.0.1:{1 + self._added % 9}"]
        if self._extra is not None:
            learner = True
        if self._chance(0.3):
            urls = [self._dice.choice(BAD_URLS)] if self._chance(0.7) else []
        elif self._chance(0.2):
            urls = [peer_url(self._dice.randrange(self._members))]
        return "MemberAdd", pb.MemberAddRequest(peerURLs=urls, isLearner=learner)

    def _promotable(self) -> int:
        if self._extra is not None and self._extra[1] and self._chance(0.5):
            return self._extra[0]
        return self._any_id()

    def _member_update(self) -> Call:
        """To the URL that it has, or to one it must not have; 3.5.1 would make a voter of a learner."""
        number = self._dice.randrange(self._members)
        url = peer_url(number)
        target = member_id(number)
        if self._chance(0.3):
            target = self._dice.choice(STRANGERS)
        elif self._members > 1 and self._chance(0.4):
            url = peer_url((number + 1) % self._members)
        return "MemberUpdate", pb.MemberUpdateRequest(ID=target, peerURLs=[url])

    # Locks and elections.

    def _lease_for(self, name: bytes) -> int:
        """One that need not wait."""
        return self._owners.get(name) or self._dice.choice([*self._leases, 999_999])

    def _lock(self) -> Call:
        name = self._dice.choice(LOCKS)
        return "Lock", lock_pb2.LockRequest(name=name, lease=self._lease_for(name))

    def _unlock(self) -> Call:
        name = self._dice.choice(LOCKS)
        key = b"%s/%x" % (name, self._lease_for(name) & ((1 << 64) - 1)) if self._chance(0.9) else b""
        return "Unlock", lock_pb2.UnlockRequest(key=key)

    def _campaign(self) -> Call:
        name = self._dice.choice(ELECTIONS)
        value = self._dice.choice(WORDS)
        return "Campaign", election_pb2.CampaignRequest(name=name, lease=self._lease_for(name), value=value)

    def _leader_key(self) -> Any:
        name = self._dice.choice(ELECTIONS)
        leader = election_pb2.LeaderKey(name=name, key=name + b"/1", rev=1, lease=self._lease_for(name))
        if name in self._leaders and self._chance(0.8):
            leader.CopyFrom(self._leaders[name])
        return leader

    def _proclaim(self) -> Call:
        made = election_pb2.ProclaimRequest(value=self._dice.choice(WORDS))
        if self._chance(0.95):
            made.leader.CopyFrom(self._leader_key())
        return "Proclaim", made

    def _leader(self) -> Call:
        return "Leader", election_pb2.LeaderRequest(name=self._dice.choice([*ELECTIONS, b"none"]))

    def _resign(self) -> Call:
        made = election_pb2.ResignRequest()
        if self._chance(0.95):
            made.leader.CopyFrom(self._leader_key())
        return "Resign", made
