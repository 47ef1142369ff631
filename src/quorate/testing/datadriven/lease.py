"""Scripts about leases: how long each may live, who may say that it is over, what is stored of it.

lease [min-ttl=S] [checkpoint-interval=S]    the first directive; 2 and 300 seconds if nothing is said
at SECONDS                                   the clock; it stands still between two of these
grant ID TTL, revoke ID                      what log entries do; grant takes `1-1000` for many
attach ID KEY …, detach ID KEY …
checkpoint ID SECONDS                        note the time left, 0 for a void note
promote extend=S, demote
renew ID
time-to-live ID
expired [limit=N]                            which are to be revoked now
checkpoints                                  which notes are to be proposed now
is-expired ID, needs-reset ID
leases                                       all there are: TTL, note, end by the primary's clock, keys
stored                                       the records as they rest
restart                                      a new lessor on the stored records: no keys until they are attached
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from quorate.api.errors import EtcdError
from quorate.lease import CHECKPOINT_INTERVAL, Lessor
from quorate.storage import schema
from quorate.storage.backend import Backend
from quorate.testing.datadriven.room import Room, data_of, number, shown
from quorate.testing.datadriven.script import Command


class LeaseScript(Room):
    expected = (EtcdError,)

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._backend = Backend.open(directory / "db", schema.BUCKETS, unsafe_no_fsync=True)
        self._min_ttl = 2
        self._checkpoint_interval = CHECKPOINT_INTERVAL
        self._now = 0.0
        self._lessor: Lessor
        self._start()

    def _start(self) -> None:
        self._lessor = Lessor(self._backend, min_ttl=self._min_ttl, checkpoint_interval=self._checkpoint_interval)
        self._lessor.restore()

    def close(self) -> None:
        self._backend.close()

    def do_lease(self, command: Command) -> Iterator[str]:
        self._min_ttl = number(command, "min-ttl", self._min_ttl)
        self._checkpoint_interval = number(command, "checkpoint-interval", int(self._checkpoint_interval))
        return self.do_restart(command)

    def do_restart(self, command: Command) -> Iterator[str]:
        self._start()
        return iter(())

    def do_at(self, command: Command) -> Iterator[str]:
        (now,) = command.positional()
        if float(now) < self._now:
            raise ValueError("a clock does not go back")
        self._now = float(now)
        return iter(())

    # What log entries do

    def do_grant(self, command: Command) -> Iterator[str]:
        lease_id, ttl = map(int, command.positional())
        for each in range(lease_id, lease_id + number(command, "count", 1)):
            granted = self._lessor.grant(each, ttl, self._now)
        yield f"{granted} seconds"

    def do_revoke(self, command: Command) -> Iterator[str]:
        yield f"goes with it: {_keys(self._lessor.revoke(_id(command)))}"

    def do_attach(self, command: Command) -> Iterator[str]:
        for key in command.positional()[1:]:
            self._lessor.attach(_id(command), data_of(key))
        return iter(())

    def do_detach(self, command: Command) -> Iterator[str]:
        for key in command.positional()[1:]:
            self._lessor.detach(_id(command), data_of(key))
        return iter(())

    def do_checkpoint(self, command: Command) -> Iterator[str]:
        lease_id, remaining = map(int, command.positional())
        self._lessor.checkpoint(lease_id, remaining, self._now)
        return iter(())

    # What the primary does

    def do_promote(self, command: Command) -> Iterator[str]:
        self._lessor.promote(self._now, float(command.option("extend") or 0))
        return iter(())

    def do_demote(self, command: Command) -> Iterator[str]:
        self._lessor.demote()
        return iter(())

    def do_renew(self, command: Command) -> Iterator[str]:
        yield f"{self._lessor.renew(_id(command), self._now)} seconds"

    def do_time_to_live(self, command: Command) -> Iterator[str]:
        left = self._lessor.time_to_live(_id(command), self._now)
        yield f"{left.ttl} of {left.granted_ttl} seconds, keys: {_keys(left.keys)}"

    def do_expired(self, command: Command) -> Iterator[str]:
        limit = command.option("limit")
        expired = self._lessor.expired(self._now, *([] if limit is None else [int(limit)]))
        yield f"{len(expired)} leases" if len(expired) > 10 else " ".join(map(str, expired)) or "none"

    def do_checkpoints(self, command: Command) -> Iterator[str]:
        notes = self._lessor.checkpoints(self._now)
        yield from [f"{lease_id}: {left} seconds left" for lease_id, left in notes] or ["none"]

    # Asking

    def do_is_expired(self, command: Command) -> Iterator[str]:
        yield "yes" if self._lessor.is_expired(_id(command), self._now) else "no"

    def do_needs_reset(self, command: Command) -> Iterator[str]:
        yield "yes" if self._lessor.needs_checkpoint_reset(_id(command)) else "no"

    def do_leases(self, command: Command) -> Iterator[str]:
        for lease in self._lessor.leases():
            note = f", {lease.remaining_ttl} left by the note" if lease.remaining_ttl else ""
            end = f", ends at {lease.expiry:g}" if self._lessor.primary else ""
            yield f"{lease.id}: {lease.ttl} seconds{note}{end}, keys: {_keys(sorted(lease.keys))}"

    def do_stored(self, command: Command) -> Iterator[str]:
        for record in schema.leases(self._backend):
            yield f"{record.id} ttl={record.ttl} remaining={record.remaining_ttl}"


def _id(command: Command) -> int:
    return int(command.positional()[0])


def _keys(keys: Iterable[bytes]) -> str:
    return " ".join(map(shown, keys)) or "none"
