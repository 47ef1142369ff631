"""Stock etcdctl 3.5.1 cannot tell the member under test from real etcd: same output, same errors, same exit status."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from e2e_ctl import Ctl, difference
from e2e_rpc import wait_until

from quorate.api.pb import rpc_pb2
from quorate.testing.process import Command, MemberProcess

pytestmark = pytest.mark.real

Chapter = Callable[[Ctl], None]
FORMATS = ("simple", "json", "fields", "table")
CHAPTERS: list[Chapter] = []


def chapter(made: Chapter) -> Chapter:
    CHAPTERS.append(made)
    return made


@pytest.mark.parametrize("told", CHAPTERS, ids=lambda c: c.__name__)
def test_etcdctl_sees_no_difference(
    told: Chapter, start_member: Callable[..., MemberProcess], real_command: Command, etcdctl: Path
) -> None:
    flags = getattr(told, "flags", {})
    real = start_member(real_command, flags=flags.get("real", ()), run=False)
    subject = start_member(flags=flags.get("real" if _is_real(start_member) else "subject", ()), run=False)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda member: member.start(), (real, subject)))
        transcripts = list(pool.map(lambda member: _tell(told, Ctl(etcdctl, member)), (real, subject)))
    assert transcripts[0], "a chapter without steps proves nothing"
    found = difference(*transcripts)
    assert not found, found


def _is_real(start_member: Callable[..., MemberProcess]) -> bool:
    return Path(start_member(run=False).command[0]).name == "etcd"


def _tell(told: Chapter, ctl: Ctl) -> list:
    told(ctl)
    return ctl.steps


@chapter
def put(ctl: Ctl) -> None:
    ctl.run("put", "foo", "bar")
    ctl.run("put", "foo", "bar2", "--prev-kv")
    ctl.run("put", "foo", stdin="from stdin\n")
    ctl.run("put", "foo", stdin="")
    ctl.run("put", "foo", "", "--prev-kv")
    ctl.run("put", "foo", "--", "-v")
    ctl.run("put", "foo", "a b\nc")
    ctl.run("put", "foo", "ключ ∎", "--prev-kv")
    ctl.run("get", "foo", "--hex")
    for form in FORMATS:
        ctl.run("put", "foo", f"as {form}", "-w", form)
        ctl.run("put", "foo", f"as {form} again", "--prev-kv", "-w", form)
        ctl.run("put", "new-" + form, "x", "--prev-kv", "-w", form)
    ctl.run("put", "foo", "bar9", "--prev-kv", "--hex")
    ctl.run("put", "foo", "x", "--prev-kv", "-w", "protobuf", parse=rpc_pb2.PutResponse)
    lease = ctl.grant(600)
    ctl.run("put", "leased", "1", "--lease", lease)
    ctl.run("get", "leased", "-w", "fields")
    ctl.run("put", "leased", "2", "--ignore-lease", "--prev-kv", "-w", "json")
    ctl.run("get", "leased", "-w", "json")
    ctl.run("put", "leased", "--ignore-value", "--prev-kv", "-w", "json")
    ctl.run("get", "leased", "-w", "json")
    ctl.run("put", "leased", "--ignore-value", "--ignore-lease", "-w", "json")
    ctl.run("put", "leased", "--ignore-value", "--lease", lease, "-w", "fields")
    ctl.run("get", "leased", "-w", "json")


@chapter
def put_refused(ctl: Ctl) -> None:
    ctl.run("put")
    ctl.run("put", "a", "b", "c")
    ctl.run("put", "", "value")
    ctl.run("put", "missing", "--ignore-value")
    ctl.run("put", "missing", "x", "--ignore-lease")
    ctl.run("put", "a", "b", "--ignore-value")
    ctl.run("put", "a", "b", "--lease", "zz")
    ctl.run("put", "a", "b", "--lease", "1234")
    ctl.run("put", "a", "b", "--lease", "1234", "--ignore-lease")
    ctl.run("put", "big", stdin="x" * 1_600_000)
    ctl.run("put", "big", stdin="x" * 2_200_000)
    ctl.run("put", "a", "b", "-w", "bogus")
    ctl.run("get", "", "--prefix", "-w", "json")


def _some_keys(ctl: Ctl) -> None:
    for key, value in (
        ("a", "9"),
        ("b", "8"),
        ("b/1", "7"),
        ("b/2", "6"),
        ("c", "5"),
        ("b/1", "4"),
        ("b/1", "3"),
        ("c", "2"),
    ):
        ctl.run("put", key, value)


@chapter
def get(ctl: Ctl) -> None:
    ctl.run("get", "nothing yet")
    ctl.run("get", "", "--prefix", "-w", "json")
    _some_keys(ctl)
    for form in FORMATS:
        for args in (
            ("b",),
            ("nokey",),
            ("b", "--prefix"),
            ("b", "c"),
            ("b", "--from-key"),
            ("", "--prefix"),
            ("", "--from-key"),
        ):
            ctl.run("get", *args, "-w", form)
    ctl.run("get", "b", "--prefix", "--hex")
    ctl.run("get", "b", "--prefix", "-w", "protobuf", parse=rpc_pb2.RangeResponse)
    ctl.run("get", "c", "a")
    ctl.run("get", "c", "c")
    for limit in ("0", "1", "2", "3", "99", "-1"):
        ctl.run("get", "b", "--prefix", "--limit", limit, "-w", "json")
    for rev in ("1", "2", "5", "8", "9", "0", "-3"):
        ctl.run("get", "", "--prefix", "--rev", rev, "-w", "json")
    for consistency in "ls":
        ctl.run("get", "b", "--prefix", "--consistency", consistency, "-w", "fields")


@chapter
def get_shaped(ctl: Ctl) -> None:
    _some_keys(ctl)
    for sort_by in ("CREATE", "KEY", "MODIFY", "VALUE", "version"):
        for order in ("ASCEND", "descend"):
            if sort_by == "version":
                ctl.run("put", "a", "again", "--prev-kv")
                ctl.run("get", "b/", "--prefix", "--sort-by", sort_by, "--order", order, "-w", "json")
                continue
            ctl.run("get", "", "--prefix", "--sort-by", sort_by, "--order", order, "-w", "json")
            ctl.run("get", "", "--prefix", "--sort-by", sort_by, "--order", order, "--limit", "2")
    ctl.run("get", "", "--prefix", "--sort-by", "CREATE", "--limit", "3")
    ctl.run("get", "", "--prefix", "--order", "DESCEND")
    ctl.run("get", "", "--prefix", "--sort-by", "VALUE", "--keys-only")
    ctl.run("get", "b", "--prefix", "--keys-only")
    ctl.run("get", "b", "--prefix", "--keys-only", "-w", "json")
    ctl.run("get", "b", "--prefix", "--print-value-only")
    ctl.run("get", "b", "--print-value-only", "--keys-only")
    ctl.run("get", "b", "--prefix", "--count-only", "-w", "fields")
    ctl.run("get", "b", "--prefix", "--count-only", "-w", "json")
    ctl.run("get", "", "--from-key", "--count-only", "-w", "fields")
    ctl.run("get", "b", "--prefix", "--count-only", "--limit", "1", "-w", "fields")


@chapter
def get_refused(ctl: Ctl) -> None:
    _some_keys(ctl)
    ctl.run("get")
    ctl.run("get", "a", "b", "c")
    ctl.run("get", "")
    ctl.run("get", "a", "b", "--prefix")
    ctl.run("get", "a", "--prefix", "--from-key")
    ctl.run("get", "a", "--keys-only", "--count-only")
    ctl.run("get", "a", "--count-only")
    ctl.run("get", "a", "--print-value-only", "-w", "json")
    ctl.run("get", "a", "--order", "bad")
    ctl.run("get", "a", "--sort-by", "bad")
    ctl.run("get", "a", "--consistency", "x")
    ctl.run("get", "a", "--rev", "10000")
    ctl.run("get", "a", "--rev", "abc")
    ctl.run("compaction", "6")
    ctl.run("get", "a", "--rev", "5")
    ctl.run("get", "a", "--rev", "6", "-w", "json")
    ctl.run("get", "", "--prefix", "--rev", "3", "--consistency", "s")


@chapter
def delete(ctl: Ctl) -> None:
    for form in FORMATS:
        _some_keys(ctl)
        ctl.run("del", "a", "-w", form)
        ctl.run("del", "a", "-w", form)
        ctl.run("del", "b", "--prev-kv", "-w", form)
        ctl.run("del", "b", "--prefix", "--prev-kv", "-w", form)
        ctl.run("put", "a", "reborn", "--prev-kv", "-w", "json")
        ctl.run("get", "a", "-w", "json")
        ctl.run("del", "", "--from-key", "--prev-kv", "-w", form)
    _some_keys(ctl)
    ctl.run("del", "a", "b/2", "--prev-kv")
    ctl.run("del", "c", "a")
    ctl.run("del", "b", "--from-key")
    _some_keys(ctl)
    ctl.run("del", "", "--prefix", "--prev-kv", "-w", "protobuf", parse=rpc_pb2.DeleteRangeResponse)
    ctl.run("get", "", "--prefix", "-w", "json")
    ctl.run("del")
    ctl.run("del", "")
    ctl.run("del", "a", "b", "--prefix")
    ctl.run("del", "a", "--prefix", "--from-key")


@chapter
def txn(ctl: Ctl) -> None:
    plain = 'mod("key1") > "0"\n\nput key1 "overwrote-key1"\n\nput key1 "created-key1"\nput key2 "some extra key"\n\n'
    ctl.run("txn", stdin=plain)
    ctl.run("txn", stdin=plain)
    ctl.run("txn", "-i", stdin=plain)
    mixed = (
        'value("key1") = "nonsense"\n\nget key1\n\n'
        "get key1\ndel key1 --prev-kv\nput key2 abc --prev-kv\nget k --prefix --order DESCEND\n"
        "get k --prefix --count-only -w fields\n\n"
    )
    for form in FORMATS:
        ctl.run("put", "key1", "one")
        ctl.run("txn", "-w", form, stdin=mixed)
    ctl.run("txn", "-w", "protobuf", stdin=mixed, parse=rpc_pb2.TxnResponse)
    empty = "\n\n\n"
    for form in FORMATS:
        ctl.run("txn", "-w", form, stdin=empty)
    ctl.run("put", "key1", "1")
    ctl.run("put", "key1", "2")
    for compare in (
        *(
            f'{target}("{key}") {op} "{n}"'
            for target in ("ver", "mod", "create")
            for key in ("key1", "gone")
            for op, n in (("=", 2), ("!=", 0), ("<", 1), (">", 0))
        ),
        *(f'val("{key}") {op} "2"' for key in ("key1", "gone") for op in ("=", "!=", "<", ">")),
    ):
        ctl.run("txn", "-w", "json", stdin=f"{compare}\n\nget key1\n\nget key2\n\n")
    ctl.run(
        "txn",
        "-w",
        "json",
        stdin='mod("key1") > "0"\nver("key2") > "0"\nval("key1") = "2"\n\nput a 1\ndel key1\nget a\n\n\n',
    )
    ctl.run("get", "", "--prefix", "-w", "json")
    ctl.run("txn", stdin='\n\nput "sp aced" "q\\"uo\\x41te\\n"\nget "sp aced"\n\n\n')
    ctl.run("txn", stdin='mod("a") > "0"\n\nget b --rev 2\n\n\n')


@chapter
def txn_refused(ctl: Ctl) -> None:
    ctl.run("put", "a", "1")
    ctl.run("txn", "argument", stdin="\n\n\n")
    ctl.run("txn", stdin="")
    ctl.run("txn", stdin="foo\n\n\n\n")
    ctl.run("txn", stdin="mod(key1) > 0\n\n\n\n")
    ctl.run("txn", stdin='bad("key1") > "0"\n\n\n\n')
    ctl.run("txn", stdin='mod("key1") > "abc"\n\n\n\n')
    ctl.run("txn", stdin="\nfoo bar\n\n\n")
    ctl.run("txn", stdin="\nget\n\n\n")
    ctl.run("txn", stdin="\nput a\n\n\n")
    ctl.run("txn", stdin="\nput a 1\nput a 2\n\n\n")
    ctl.run("txn", stdin="\nput a 1\ndel a\n\n\n")
    ctl.run("txn", stdin="\ndel a\nput a 1\n\n\n")
    ctl.run("txn", stdin="\ndel a --prefix\ndel a\n\n\n")
    ctl.run("txn", stdin="\nput a 1\n\nput a 2\n\n")
    ctl.run("txn", stdin="\nget a --rev 999\n\n\n")
    ctl.run("txn", stdin="\nput b 1\nget a --rev 999\n\n\n")
    ctl.run("txn", stdin="\nput b 1 --lease=77\n\n\n")
    ctl.run("txn", stdin="\nput zzz --ignore-value\n\n\n")
    ctl.run("txn", stdin="\n" + "".join(f"put k{n} v\n" for n in range(128)) + "\n\n")
    ctl.run("txn", stdin="\n" + "".join(f"put k{n} v\n" for n in range(129)) + "\n\n")
    ctl.run("compaction", "2")
    ctl.run("put", "c", "1")
    ctl.run("txn", stdin="\nput d 1\nget a --rev 1\n\n\n")
    ctl.run("get", "", "--prefix", "-w", "json", "--limit", "10")


@chapter
def compaction(ctl: Ctl) -> None:
    ctl.run("compaction")
    ctl.run("compaction", "abc")
    ctl.run("compaction", "1", "2")
    ctl.run("compaction", "100")
    ctl.run("compaction", "0")
    ctl.run("compaction", "0")
    _some_keys(ctl)
    ctl.run("compaction", "3")
    ctl.run("compaction", "3")
    ctl.run("compaction", "2", "--physical")
    ctl.run("del", "c")
    ctl.run("compaction", "5", "--physical")
    ctl.run("get", "", "--prefix", "--rev", "4")
    ctl.run("get", "", "--prefix", "--rev", "5", "-w", "json")
    ctl.run("get", "", "--prefix", "-w", "json")
    ctl.run("compaction", "9", "-w", "json")
    ctl.run("compaction", "10", "--physical", "-w", "fields")
    ctl.run("compaction", "11")
    ctl.run("compaction", "--", "-5")
    ctl.run("get", "", "--prefix", "-w", "json")


@chapter
def defrag(ctl: Ctl) -> None:
    ctl.run("defrag")
    _some_keys(ctl)
    ctl.run("del", "b", "--prefix")
    ctl.run("compaction", "5", "--physical")
    for form in FORMATS:
        ctl.run("defrag", "-w", form)
    ctl.run("defrag", "--cluster")
    ctl.run("defrag", "extra")
    ctl.run("--endpoints=127.0.0.1:1", "--dial-timeout=200ms", "--command-timeout=300ms", "defrag")
    ctl.run("get", "", "--prefix", "-w", "json")
    ctl.run("get", "", "--prefix", "--rev", "5", "-w", "json")
    ctl.run("put", "a", "after", "--prev-kv", "-w", "json")
    ctl.run("endpoint", "status", "-w", "json")


@chapter
def watch_history(ctl: Ctl) -> None:
    _some_keys(ctl)
    ctl.run("del", "b/1")
    ctl.run("put", "b/1", "reborn")
    ctl.run("del", "b", "--prefix")
    ctl.run("put", "END", "END")
    ctl.run("put", "b/END", "END")
    for args in (
        ("", "--prefix", "--rev", "1"),
        ("", "--prefix", "--rev", "4", "--prev-kv"),
        ("b", "--prefix", "--rev", "1"),
        ("b", "--prefix", "--rev", "1", "--prev-kv"),
        ("b", "c", "--rev", "3", "--prev-kv"),
        ("END", "--rev", "1"),
    ):
        for form in ("simple", "fields"):
            with ctl.background("watch", *args, "-w", form) as watch:
                watch.until("END")
                wait_until(lambda watch=watch: watch.output().endswith("END\n") or '"END"\n' in watch.output())
    with ctl.background("watch", "", "--prefix", "--rev", "1", "-w", "json", "--prev-kv") as watch:
        watch.until("RU5E", 2)
    with ctl.background("watch", "b/1", "--rev", "1", "--hex") as watch:
        watch.until("DELETE", 2)


@chapter
def watch_live(ctl: Ctl) -> None:
    with ctl.background("watch", "k", "--prefix", "--prev-kv", "--rev", "2") as watch:
        ctl.run("put", "k1", "1")
        watch.until("k1\n1\n")
        ctl.run("put", "k1", "2")
        ctl.run("put", "other", "x")
        ctl.run("del", "k", "--prefix")
        watch.until("DELETE")
        ctl.run("txn", stdin="\nput k2 1\nput k3 1\ndel k1\n\n\n")
        ctl.run("put", "kEND", "END")
        watch.until("kEND\nEND\n")
    with ctl.background("watch", "j", "--rev", "8", "-w", "json", "--prev-kv") as watch:
        ctl.run("put", "j", "1")
        watch.until("Header")
        ctl.run("put", "j", "2")
        watch.until("Header", 2)
        ctl.run("del", "j")
        watch.until('"type":1')
    ctl.run("put", "x", "0")
    with ctl.background(
        "watch",
        "x",
        "--rev",
        "11",
        "--",
        "sh",
        "-c",
        "echo seen $ETCD_WATCH_REVISION $ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE",
    ) as watch:
        watch.until("seen")
        ctl.run("put", "x", 'a"b')
        watch.until("seen", 2)
        ctl.run("del", "x")
        watch.until('"DELETE"')
    with ctl.background(
        "watch", "--rev", "20", env={"ETCDCTL_WATCH_KEY": "env", "ETCDCTL_WATCH_RANGE_END": "enz"}
    ) as watch:
        for n in range(12):
            ctl.run("put", "env" + str(n), str(n))
        watch.until("env11\n11\n")


@chapter
def watch_interactive(ctl: Ctl) -> None:
    _some_keys(ctl)
    with ctl.background("watch", "-i") as watch:
        watch.type("watch b --prefix --rev 2")
        watch.until("b/1\n3\n")
        watch.type("progress")
        watch.until("progress notify", 1)
        watch.type("watch a --rev 1 --prev-kv")
        watch.until("a\n9\n")
        watch.type("progress")
        watch.until("progress notify", 3)
        ctl.run("put", "b", "live")
        watch.until("b\nlive\n")
        watch.type("foo")
        watch.type("watch")
        watch.type("")
        assert watch.process.stdin is not None
        watch.process.stdin.close()
        watch.until_ended()
    with ctl.background("watch", "-i") as watch:
        watch.type("watch b c --rev 3")
        watch.until("b\nlive\n")


@chapter
def watch_refused(ctl: Ctl) -> None:
    _some_keys(ctl)
    ctl.run("watch")
    ctl.run("watch", "a", "--")
    ctl.run("watch", "a", env={"ETCDCTL_WATCH_KEY": "b"})
    ctl.run("watch", env={"ETCDCTL_WATCH_RANGE_END": "b"})
    ctl.run("watch", "a", "b", "--prefix")
    ctl.run("compaction", "6")
    for form in ("simple", "json"):
        with ctl.background("watch", "", "--prefix", "--rev", "3", "-w", form) as watch:
            watch.until_ended()
    with ctl.background("watch", "b/1", "--rev", "6") as watch:
        watch.until("b/1\n3\n")


@chapter
def watch_periodic_progress(ctl: Ctl) -> None:
    ctl.run("put", "a", "1")
    with ctl.background("watch", "a", "--progress-notify", "--rev", "1") as watch:
        watch.until("progress notify: 2")
        shown = watch.output()
        ctl.say(f"{shown.count('progress notify: 2') > 0}, {shown.startswith('PUT')}")
        watch.process.kill()
        watch.process.wait()
    ctl.steps.pop()


watch_periodic_progress.flags = {  # type: ignore[attr-defined]
    "real": ("--experimental-watch-progress-notify-interval=200ms",),
    "subject": ("--watch-progress-notify-interval=200ms",),
}


@chapter
def lease(ctl: Ctl) -> None:
    ctl.run("lease", "list")
    ctl.run("lease", "list", "-w", "table")
    for form in ("simple", "json", "fields"):
        ctl.run("lease", "list", "-w", form)
        made = ctl.grant(600, "-w", form)
        ctl.run("put", "leased/" + form, "x", "--lease", made)
        ctl.run("put", "leased/2" + form, "x", "--lease", made)
        ctl.run("lease", "timetolive", made, "-w", form)
        ctl.run("lease", "keep-alive", "--once", made, "-w", form)
        ctl.run("get", "leased", "--prefix", "-w", form)
        if form != "simple":
            ctl.run("lease", "revoke", made, "-w", form)
            ctl.run("lease", "timetolive", made, "-w", form)
            ctl.run("get", "leased", "--prefix", "-w", form)
    one = ctl.grant(700)
    ctl.run("put", "only", "x", "--lease", one)
    ctl.run("lease", "timetolive", one, "--keys")
    ctl.run("lease", "timetolive", one, "--keys", "-w", "json")
    ctl.run("lease", "timetolive", one, "--keys", "-w", "fields")
    ctl.run("put", "only", "y")
    ctl.run("lease", "timetolive", one, "--keys", "-w", "json")
    ctl.run("lease", "revoke", one)
    ctl.run("get", "only")
    ctl.run("lease", "revoke", one)
    ctl.run("lease", "timetolive", one)
    ctl.run("lease", "timetolive", one, "--keys", "-w", "json")
    ctl.run("lease", "keep-alive", "--once", one)
    ctl.run("lease", "list")
    small = ctl.grant(1)
    ctl.run("put", "short", "x", "--lease", small)
    with ctl.background("watch", "short", "--rev", "1") as watch:
        watch.until("DELETE")
    ctl.run("lease", "timetolive", small)
    ctl.run("get", "short", "-w", "json")


@chapter
def lease_kept_alive(ctl: Ctl) -> None:
    made = ctl.grant(3)
    ctl.run("put", "kept", "x", "--lease", made)
    with ctl.background("lease", "keep-alive", made) as kept:
        kept.until("keepalived", 4)
        ctl.run("get", "kept")
        ctl.run("lease", "revoke", made)
        kept.until_ended()
        seen = kept.output()
        ctl.say(f"expired at the end: {'expired or revoked' in seen}")
    ctl.steps[-1] = type(ctl.steps[-1])(
        ctl.steps[-1].asked, ctl.steps[-1].exit, "\n".join(sorted(set(ctl.steps[-1].out.split("\n")))), ""
    )
    ctl.run("get", "kept", "-w", "json")


@chapter
def lease_refused(ctl: Ctl) -> None:
    for command in ("grant", "revoke", "timetolive", "keep-alive"):
        ctl.run("lease", command)
    ctl.run("lease", "grant", "abc")
    ctl.run("lease", "grant", "9000000001")
    ctl.grant(9000000000)
    ctl.grant(0)
    ctl.run("lease", "grant", "--", "-1")
    ctl.steps[-1] = type(ctl.steps[-1])(
        ctl.steps[-1].asked, ctl.steps[-1].exit, ctl.steps[-1].out.split(" granted ")[-1], ""
    )
    for command in ("revoke", "timetolive", "keep-alive"):
        ctl.run("lease", command, "zz")
        ctl.run("lease", command, "1234")
    ctl.run("lease", "keep-alive", "--once", "1234")
    ctl.run("lease", "timetolive", "1234", "-w", "json")
    ctl.run("lease", "nosuch")


@chapter
def cluster(ctl: Ctl) -> None:
    for form in (*FORMATS, "bogus"):
        ctl.run("member", "list", "-w", form)
        ctl.run("endpoint", "health", "-w", form)
        ctl.run("endpoint", "status", "-w", form)
    ctl.run("member", "list", "-w", "protobuf", parse=rpc_pb2.MemberListResponse)
    ctl.run("endpoint", "health", "--cluster")
    ctl.run("endpoint", "status", "--cluster")
    ctl.run("member", "list", "--hex")
    ctl.run("endpoint", "hashkv")
    ctl.run("put", "a", "1")
    ctl.run("put", "b", "2")
    ctl.run("del", "a")
    ctl.run("endpoint", "hashkv")
    ctl.run("endpoint", "hashkv", "--rev", "3")
    ctl.run("endpoint", "hashkv", "--rev", "99")
    ctl.run("endpoint", "hashkv", "-w", "json")
    ctl.run("alarm", "list")
    ctl.run("--endpoints=127.0.0.1:1", "--dial-timeout=200ms", "--command-timeout=300ms", "get", "a")


@chapter
def members(ctl: Ctl) -> None:
    ctl.run("member", "add")
    ctl.run("member", "add", "x")
    ctl.run("member", "add", "a", "b", "--peer-urls=http://127.0.0.1:1")
    ctl.run("member", "add", "x", "--peer-urls=nonsense")
    ctl.run("member", "add", "x", f"--peer-urls={ctl.member.peer_url}")
    ctl.run("member", "remove")
    ctl.run("member", "remove", "zz")
    ctl.run("member", "remove", "1234")
    ctl.run("member", "update", "1234", "--peer-urls=http://127.0.0.1:1")
    ctl.run("member", "promote")
    ctl.run("member", "promote", "1234")
    ctl.run("put", "between", "two changes")  # raft drops a change that comes before the one before it is applied
    ctl.run("member", "promote", ctl.ids[0])
    ctl.run("member", "update", ctl.ids[0], "--peer-urls=http://127.0.0.1:1,http://127.0.0.1:2")
    ctl.run("member", "list", "-w", "json")
    ctl.run("member", "update", ctl.ids[0], f"--peer-urls={ctl.member.peer_url}", "-w", "fields")
    ctl.run("move-leader", ctl.ids[0])
    ctl.run("move-leader", "1234")
    for form in ("simple", "json"):
        learner = ctl.add("x", "--learner", "--peer-urls=http://127.0.0.1:1", "-w", form)
        ctl.run("member", "promote", learner, "-w", form)
        ctl.run("move-leader", learner)
        ctl.run("member", "remove", learner, "-w", form)
        ctl.run("member", "list", "-w", form)
    ctl.run("put", "still", "served")
    ctl.run("member", "remove", ctl.ids[0])
