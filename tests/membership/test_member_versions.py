"""Which version a cluster agrees on, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from quorate.membership import (
    Cluster,
    ClusterVersionTooHigh,
    Downgrade,
    Member,
    Minor,
    add_change,
    check_not_above,
    decide,
    parse_target,
    parse_version,
    promote_change,
)
from quorate.storage import schema
from quorate.storage.backend import Backend

V35, V36, V37 = Minor(3, 5), Minor(3, 6), Minor(3, 7)
NONE = Downgrade()


@pytest.mark.parametrize(
    ("text", "version"), [("3.5.1", V35), ("3.7.0-alpha.0", V37), ("3.6.14+git", V36), ("3.7.0-rc.1+a.b", V37)]
)
def test_a_version_is_three_numbers_and_perhaps_a_suffix(text: str, version: Minor) -> None:
    assert parse_version(text) == parse_target(text) == version


@pytest.mark.parametrize("text", ["", "3", "3.5", "v3.5.0", "3.5.x", "3.5.0.1", "not_decided", "3.5.0-", "9" * 5000])
def test_anything_else_is_no_version(text: str) -> None:
    with pytest.raises(ValueError):
        parse_version(text)


def test_a_target_may_leave_out_its_patch() -> None:
    assert parse_target("3.6") == V36
    assert (str(V36), V36.short()) == ("3.6.0", "3.6")
    with pytest.raises(ValueError):
        parse_target("3")


def test_a_cluster_begins_with_the_lowest_release_if_all_tell_theirs() -> None:
    assert decide(None, [V37, V35, V36], NONE) == V35
    assert decide(None, [V37, None], NONE) == Minor(3, 0)


def test_a_version_only_rises_and_only_if_all_tell_theirs() -> None:
    assert decide(V35, [V37, V36], NONE) == V36
    assert decide(V36, [V37, V36], NONE) is None
    assert decide(V37, [V37, V36], NONE) is None
    assert decide(V35, [V37, None], NONE) is None
    assert decide(V37, [Minor(4, 0)], NONE) is None  # not over the bounds of a major
    assert decide(Minor(3, 0), [V37, V37], NONE) == V37


def test_a_downgrade_lowers_it_by_one_minor_once() -> None:
    job = Downgrade("3.6.0", True)
    assert decide(V37, [V37, V37], job) == V36
    assert decide(V36, [V37, V36], job) is None
    assert decide(V37, [V37, None], job) is None
    for current, members in ((V37, [V37, V36]), (Minor(3, 8), [V37]), (V35, [V37])):
        with pytest.raises(ValueError, match=r"cannot downgrade to 3\.6\.0"):
            decide(current, members, job)


def test_a_release_stays_out_of_a_later_cluster() -> None:
    for version in (None, "3.0.0", "3.5.0", "3.7.0"):
        check_not_above(version, "3.7.2")
    with pytest.raises(ClusterVersionTooHigh, match=r"server 3\.7\.2, cluster 3\.8"):
        check_not_above("3.8.0", "3.7.2")


def test_a_member_serves_every_call_once_there_is_a_version_and_it_votes(tmp_path: Path) -> None:
    store = Backend.open(tmp_path / "db", schema.BUCKETS, unsafe_no_fsync=True)
    try:
        cluster = Cluster.restore(store, 0xC, 1)
        told: list[str | None] = []
        cluster.version_changed = lambda: told.append(cluster.version)
        assert cluster.is_restricted
        cluster.apply(add_change(Member(1, ("http://a:1",), is_learner=True)))
        cluster.set_version("3.7.0")
        assert cluster.is_restricted
        cluster.apply(promote_change(1))
        assert not cluster.is_restricted
        cluster.reload(store)
        assert not cluster.is_restricted
        assert told == ["3.7.0", "3.7.0"]
        assert not Cluster.restore(store, 0xC, 1).is_restricted
    finally:
        store.close()
