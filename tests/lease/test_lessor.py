"""What leases promise: never shorter than their TTL on the primary, endless elsewhere, and nothing lost on the way."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from quorate.api import errors
from quorate.lease import MAX_CHECKPOINTS, MAX_EXPIRED, MAX_TTL, SPREAD_FROM, SPREAD_RATE, Lessor
from quorate.lease import lessor as lessor_module
from quorate.storage import schema
from quorate.storage.backend import Backend


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Backend]:
    backend = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    yield backend
    backend.close()


@pytest.fixture
def lessor(store: Backend) -> Lessor:
    return Lessor(store, min_ttl=2)


def test_a_ttl_below_the_minimum_is_raised_and_the_raised_one_is_stored(lessor: Lessor, store: Backend) -> None:
    assert [lessor.grant(number, ttl, 0.0) for number, ttl in ((1, 0), (2, -5), (3, 2), (4, 60))] == [2, 2, 2, 60]
    assert list(schema.leases(store)) == [schema.LeaseRecord(i, ttl) for i, ttl in ((1, 2), (2, 2), (3, 2), (4, 60))]


def test_a_ttl_above_the_maximum_is_refused_before_the_id_is_looked_at(lessor: Lessor) -> None:
    assert lessor.grant(1, MAX_TTL, 0.0) == 9_000_000_000
    with pytest.raises(errors.LeaseTtlTooLarge):
        lessor.grant(1, MAX_TTL + 1, 0.0)


def test_an_id_in_use_is_refused_and_free_again_after_the_revocation(lessor: Lessor) -> None:
    lessor.grant(7, 10, 0.0)
    with pytest.raises(errors.LeaseExists):
        lessor.grant(7, 10, 0.0)
    lessor.revoke(7)
    assert lessor.grant(7, 10, 0.0) == 10
    with pytest.raises(errors.LeaseNotFound):
        lessor.grant(0, 10, 0.0)


def test_what_is_asked_of_an_unknown_lease_is_not_found(lessor: Lessor) -> None:
    lessor.promote(0.0, 1.0)
    for ask in (
        lambda: lessor.revoke(1),
        lambda: lessor.renew(1, 0.0),
        lambda: lessor.time_to_live(1, 0.0),
        lambda: lessor.attach(1, b"k"),
        lambda: lessor.keys(1),
    ):
        with pytest.raises(errors.LeaseNotFound):
            ask()
    assert not lessor.exists(1)
    assert not lessor.is_expired(1, 0.0)
    lessor.checkpoint(1, 5, 0.0)
    lessor.detach(1, b"k")


def test_revoke_returns_keys_ascending_and_detaches_them(lessor: Lessor, store: Backend) -> None:
    lessor.grant(1, 10, 0.0)
    for key in (b"b", b"a\xff", b"a"):
        lessor.attach(1, key)
    assert lessor.keys(1) == [b"a", b"a\xff", b"b"]
    assert lessor.revoke(1) == [b"a", b"a\xff", b"b"]
    assert lessor.lease_of(b"a") == 0
    assert list(schema.leases(store)) == []


def test_a_key_hangs_on_one_lease_at_a_time(lessor: Lessor) -> None:
    lessor.grant(1, 10, 0.0)
    lessor.grant(2, 10, 0.0)
    lessor.attach(1, b"k")
    lessor.attach(2, b"k")
    assert (lessor.keys(1), lessor.keys(2), lessor.lease_of(b"k")) == ([], [b"k"], 2)
    lessor.detach(1, b"k")  # hangs elsewhere by now
    assert lessor.lease_of(b"k") == 2
    lessor.detach(2, b"k")
    assert (lessor.keys(2), lessor.lease_of(b"k")) == ([], 0)


def test_leases_of_any_id_survive_a_restart_and_their_keys_attach_anew(lessor: Lessor, store: Backend) -> None:
    for number in (5, -5, (1 << 63) - 1, -(1 << 63)):
        lessor.grant(number, 10, 0.0)
    lessor.checkpoint(5, 4, 0.0)
    lessor.attach(5, b"k")
    store.commit()
    again = Lessor(store, min_ttl=20)
    again.restore()
    assert sorted((lease.id, lease.ttl, lease.remaining_ttl) for lease in again.leases()) == [
        (-(1 << 63), 20, 0),
        (-5, 20, 0),
        (5, 20, 4),
        ((1 << 63) - 1, 20, 0),
    ]
    assert again.lease_of(b"k") == 0
    again.attach(5, b"k")
    assert again.keys(5) == [b"k"]


def test_leases_are_endless_on_a_member_that_is_not_the_primary(lessor: Lessor) -> None:
    lessor.grant(1, 2, 0.0)
    assert lessor.expired(1e12) == []
    assert not lessor.is_expired(1, 1e12)
    for ask in (lambda: lessor.renew(1, 0.0), lambda: lessor.time_to_live(1, 0.0)):
        with pytest.raises(errors.NotPrimaryLessor):
            ask()
    lessor.promote(0.0, 1.0)
    lessor.demote()
    assert lessor.expired(1e12) == []


def test_a_new_primary_gives_every_lease_its_ttl_and_the_extension(lessor: Lessor) -> None:
    lessor.grant(1, 10, 0.0)
    lessor.promote(100.0, 1.0)
    assert lessor.expired(110.9) == []
    assert lessor.time_to_live(1, 100.0).ttl == 11
    assert lessor.time_to_live(1, 100.5).ttl == 10
    assert lessor.expired(111.0) == [1]
    assert lessor.time_to_live(1, 115.0) == (0, 10, [])


def test_a_new_primary_starts_from_the_noted_time_left(lessor: Lessor) -> None:
    lessor.grant(1, 600, 0.0)
    lessor.checkpoint(1, 300, 0.0)
    for start in (0.0, 1000.0, 2000.0):  # each change of the leader again, not only the first (etcd 17132)
        lessor.promote(start, 1.0)
        assert lessor.time_to_live(1, start).ttl == 301
        lessor.demote()


def test_a_renewal_gives_the_whole_time_again_even_if_that_ends_sooner(lessor: Lessor) -> None:
    lessor.grant(1, 10, 0.0)
    lessor.promote(0.0, 5.0)
    assert lessor.renew(1, 1.0) == 10
    assert lessor.expired(10.9) == []
    assert lessor.expired(11.0) == [1]


def test_a_lease_granted_on_the_primary_ends_after_its_ttl(lessor: Lessor) -> None:
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 10, 5.0)
    assert lessor.expired(14.9) == []
    assert lessor.is_expired(1, 15.0)
    assert lessor.expired(15.0) == [1]


def test_an_ended_lease_cannot_be_renewed(lessor: Lessor) -> None:
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 10, 0.0)
    with pytest.raises(errors.LeaseNotFound):
        lessor.renew(1, 10.0)


def test_an_ended_lease_is_reported_again_only_after_the_retry_interval(store: Backend) -> None:
    lessor = Lessor(store, min_ttl=2, retry_interval=7.0)
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 10, 0.0)
    assert lessor.expired(10.0) == [1]
    assert lessor.expired(16.9) == []
    assert lessor.expired(17.0) == [1]
    lessor.revoke(1)
    assert lessor.expired(1000.0) == []


def test_a_look_reports_at_most_its_limit_and_the_first_ended_first(lessor: Lessor) -> None:
    lessor.promote(0.0, 1.0)
    for number in range(1, 1301):
        lessor.grant(number, 10, number / 1000)
    first = lessor.expired(12.0)
    assert first == list(range(1, MAX_EXPIRED + 1))
    assert len(lessor.expired(12.0)) == MAX_EXPIRED
    assert lessor.expired(12.0, limit=10) == list(range(1001, 1011))


def test_an_id_granted_anew_is_not_ended_by_the_time_of_the_old_one(lessor: Lessor) -> None:
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 10, 0.0)
    lessor.revoke(1)
    lessor.grant(1, 10, 9.0)
    assert lessor.expired(18.9) == []
    assert lessor.expired(19.0) == [1]


def test_leases_are_listed_by_the_time_left_on_the_primary(lessor: Lessor) -> None:
    lessor.promote(0.0, 1.0)
    for number, ttl in ((1, 30), (2, 10), (3, 20)):
        lessor.grant(number, ttl, 0.0)
    assert [lease.id for lease in lessor.leases()] == [2, 3, 1]
    lessor.renew(2, 9.0)
    lessor.renew(2, 15.0)
    assert [lease.id for lease in lessor.leases()] == [3, 2, 1]
    lessor.demote()
    assert sorted(lease.id for lease in lessor.leases()) == [1, 2, 3]


def test_many_leases_of_one_ttl_do_not_all_end_in_one_second(lessor: Lessor) -> None:
    count = 3 * SPREAD_RATE + 10
    for number in range(1, count + 1):
        lessor.grant(number, 10, 0.0)
    lessor.promote(0.5, 1.0)
    ends = [lease.expiry for lease in lessor.leases()]
    assert min(ends) >= 11.5
    per_second = [sum(1 for end in ends if int(end) == second) for second in range(11, 16)]
    assert max(per_second) <= SPREAD_RATE
    assert sum(per_second) == count
    seen: list[int] = []
    now = 11.0
    while len(seen) < count:
        now += 0.5
        seen += lessor.expired(now)
        assert now < 17
    assert sorted(seen) == list(range(1, count + 1))


def test_few_leases_are_not_spread(lessor: Lessor) -> None:
    for number in range(1, SPREAD_FROM):
        lessor.grant(number, 10, 0.0)
    lessor.promote(0.0, 1.0)
    assert {lease.expiry for lease in lessor.leases()} == {11.0}


def test_a_promotion_of_very_many_leases_goes_on_with_the_looks(
    lessor: Lessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lessor_module, "START_BITE", 10)
    for number in range(1, 36):
        lessor.grant(number, 10, 0.0)
    lessor.promote(0.0, 1.0)
    lessor.renew(1, 3.0)
    lessor.revoke(2)
    assert lessor.time_to_live(3, 0.0).ttl == 11
    started = []
    for _ in range(4):
        started.append(sum(lease.expiry < float("inf") for lease in lessor.leases()))
        assert lessor.expired(1.0) == []
    assert started == sorted(started)
    assert started[0] < 20
    assert lessor.time_to_live(1, 3.0).ttl == 10
    assert sorted(lessor.expired(11.0)) == list(range(3, 36))


def test_time_left_of_long_leases_is_noted_every_interval(store: Backend) -> None:
    lessor = Lessor(store, min_ttl=2, checkpoint_interval=300.0)
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 1000, 0.0)
    lessor.grant(2, 300, 0.0)
    assert not lessor.has_due_checkpoints(299.0)
    assert lessor.checkpoints(299.0) == []
    assert lessor.has_due_checkpoints(300.0)
    assert lessor.checkpoints(300.0) == [(1, 700)]
    assert not lessor.has_due_checkpoints(300.0)
    assert lessor.checkpoints(300.0) == []
    lessor.checkpoint(1, 700, 301.0)
    assert next(iter(schema.leases(store))) == schema.LeaseRecord(1, 1000, 700)
    assert lessor.checkpoints(600.9) == []
    assert lessor.checkpoints(601.0) == [(1, 399)]
    lessor.demote()
    assert lessor.checkpoints(10_000.0) == []


def test_notes_go_on_after_a_change_of_the_leader_and_after_a_lost_note(store: Backend) -> None:
    lessor = Lessor(store, min_ttl=2, checkpoint_interval=300.0)
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 2000, 0.0)
    assert lessor.checkpoints(300.0) == [(1, 1700)]  # lost: never comes back through the log
    assert lessor.checkpoints(600.0) == [(1, 1400)]
    lessor.demote()
    lessor.promote(1000.0, 1.0)
    assert lessor.checkpoints(1300.0) == [(1, 1701)]


def test_a_renewal_asks_for_a_note_of_zero_when_one_is_stored_or_under_way(store: Backend) -> None:
    lessor = Lessor(store, min_ttl=2, checkpoint_interval=300.0)
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 1000, 0.0)
    assert not lessor.needs_checkpoint_reset(1)
    assert lessor.checkpoints(300.0) == [(1, 700)]
    assert lessor.needs_checkpoint_reset(1)
    lessor.checkpoint(1, 700, 301.0)
    assert lessor.needs_checkpoint_reset(1)
    lessor.checkpoint(1, 0, 302.0)
    assert not lessor.needs_checkpoint_reset(1)
    assert lessor.renew(1, 302.0) == 1000
    lessor.demote()
    assert not lessor.needs_checkpoint_reset(1)


def test_a_renewed_lease_is_noted_an_interval_after_its_renewal(store: Backend) -> None:
    lessor = Lessor(store, min_ttl=2, checkpoint_interval=300.0)
    lessor.promote(0.0, 1.0)
    lessor.grant(1, 1000, 0.0)
    lessor.renew(1, 200.0)
    assert lessor.checkpoints(499.0) == []
    assert lessor.checkpoints(500.0) == [(1, 700)]


def test_a_log_entry_takes_at_most_a_thousand_notes(store: Backend) -> None:
    lessor = Lessor(store, min_ttl=2, checkpoint_interval=300.0)
    lessor.promote(0.0, 1.0)
    for number in range(1, MAX_CHECKPOINTS + 11):
        lessor.grant(number, 1000, 0.0)
    assert len(lessor.checkpoints(300.0)) == MAX_CHECKPOINTS
    assert len(lessor.checkpoints(300.0)) == 10


def test_any_sequence_of_calls_ends_each_lease_when_a_plain_table_says_so(store: Backend) -> None:
    seed = random.randrange(1 << 32)
    print("seed", seed)
    dice = random.Random(seed)
    lessor = Lessor(store, min_ttl=2, retry_interval=3.0)
    lessor.promote(0.0, 1.0)
    table: dict[int, tuple[int, float]] = {}
    reported: dict[int, float] = {}
    now = 0.0
    for _ in range(5000):
        now += dice.random() * 0.4
        lease_id = dice.randrange(1, 30)
        what = dice.randrange(10)
        if what < 3 and lease_id not in table:
            ttl = lessor.grant(lease_id, dice.randrange(1, 9), now)
            table[lease_id] = (ttl, now + ttl)
            reported.pop(lease_id, None)
        elif what < 6 and lease_id in table and table[lease_id][1] > now:
            ttl = lessor.renew(lease_id, now)
            table[lease_id] = (ttl, now + ttl)
        elif what == 6 and lease_id in table:
            lessor.revoke(lease_id)
            del table[lease_id]
        elif what == 7 and dice.random() < 0.1:
            lessor.demote()
            lessor.promote(now, 1.0)
            table = {number: (ttl, now + ttl + 1.0) for number, (ttl, _) in table.items()}
            reported.clear()
        else:
            wanted = {n for n, (_, end) in table.items() if end <= now and reported.get(n, -9.0) + 3.0 <= now}
            got = lessor.expired(now)
            assert set(got) == wanted
            assert len(got) == len(wanted)
            reported.update(dict.fromkeys(got, now))
