"""Every command of etcdctl once, on three guarded members: chapters for stock etcdctl 3.5 and for Debian's of 3.4."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from e2e_ctl import Ctl
from e2e_guard import PASSWORD, ROOT
from e2e_play import Play
from e2e_rpc import Client, Connect, wait_until

from quorate.api.pb import rpc_pb2 as pb

NOBODY = "--user="
FORMS = ("simple", "json")

Chapter = Callable[[Play], None]
TOUR: list[Chapter] = []
MAIN = ("keys", "leases", "locks_and_elections")
"""Chapters that are worth telling more than once."""


def chapter(made: Chapter) -> Chapter:
    TOUR.append(made)
    return made


def commands(binary: Path) -> set[str]:
    """What this etcdctl can do, as its help lists it."""
    told = subprocess.run([binary, "help"], capture_output=True, text=True, timeout=30, check=False).stdout
    listed = told.partition("\nCOMMANDS:\n")[2].partition("\nOPTIONS:")[0]
    return {line.split("\t")[1].strip() for line in listed.splitlines() if line.startswith("\t")}


def _counted(ctl: Ctl, prefix: str, enough: Callable[[int], bool], connect: Connect | None = None) -> bool:
    """Wait, past etcdctl, until there are enough keys that begin so; False when there never are."""
    begin, end = prefix.encode(), prefix.encode() + b"\xff"

    with Client(ctl.member.endpoint, connect or ctl.connect) as client:

        def there() -> bool:
            answer = client.get(begin, end, count_only=True)
            assert answer.ok, answer
            return enough(answer.message.count)

        return wait_until(there, pause=0.05)


@contextmanager
def _without_auth(ctl: Ctl) -> Iterator[None]:
    ctl.run("auth", "disable")
    try:
        yield
    finally:
        ctl.run(NOBODY, "auth", "enable")


@chapter
def keys(play: Play) -> None:
    ctl = play.ctl
    with ctl.background(play.at(2), "watch", "k", "--prefix", "--prev-kv", "--rev", "1") as watch:
        ctl.run(play.at(1), "put", "k1", "one")
        ctl.run(play.at(0, 1, 2), "put", "k2", stdin="two")
        ctl.run("del", "k1", "--prev-kv")
        ctl.run("txn", stdin='val("k2") = "two"\n\nput k3 three\nget k --prefix\n\nput k4 four\n\n')
        watch.until("three")
    for form in FORMS:
        ctl.run(play.at(1), "get", "k", "--prefix", "-w", form)
        ctl.run(play.at(2), "get", "k", "--prefix", "--rev", "3", "-w", form)
    ctl.run(play.at(1), "compaction", "4", "--physical")
    ctl.run(play.at(2), "get", "k", "--rev", "2")
    for name in ("version", "help", *sorted(name for name in commands(ctl.binary) if name.startswith("completion"))):
        ctl.run(*name.split())


@chapter
def leases(play: Play) -> None:
    ctl = play.ctl
    made = ctl.grant(600)
    ctl.run(play.at(1), "put", "leased", "x", "--lease", made)
    for number in range(3):
        ctl.run(play.at(number), "lease", "timetolive", made, "--keys")
        ctl.run(play.at(number), "lease", "keep-alive", "--once", made)
        ctl.run(play.at(number), "lease", "list")
    ctl.run(play.at(2), "lease", "revoke", made)
    ctl.run("get", "leased", "-w", "json")


@chapter
def locks_and_elections(play: Play) -> None:
    ctl = play.ctl
    ctl.run("lock", "lock", "sh", "-c", "echo $ETCD_LOCK_KEY at $ETCD_LOCK_REV; exit 3")
    with ctl.background("lock", "lock") as first:
        first.until("lock/")
        with ctl.background(play.at(1), "lock", "lock", "echo", "held") as second:
            assert _counted(ctl, "lock/", lambda count: count == 2)
            first.process.send_signal(signal.SIGTERM)
            second.until_ended()
    listening = ctl.background(play.at(2), "elect", "-l", "seat")
    with listening as listener, ctl.background("elect", "seat", "one") as first:
        first.until("one")
        listener.until("one")
        with ctl.background(play.at(1), "elect", "seat", "two") as second:
            assert _counted(ctl, "seat/", lambda count: count == 2)
            first.process.send_signal(signal.SIGTERM)
            second.until("two")
            listener.until("two")
    ctl.run("get", "", "--prefix", "--keys-only")


@chapter
def mirror(play: Play) -> None:
    ctl, keys = play.ctl, play.keys
    assert keys is not None
    there = play.cluster.members[1].endpoint
    ctl.run("put", "src/a", "1")
    ctl.run("put", "src/b", "2")
    files = [f"--dest-cacert={keys.ca}", f"--dest-cert={keys.cert}", f"--dest-key={keys.key}"]
    argv = ("make-mirror", "--prefix=src/", "--dest-prefix=copy/", *files, there)
    ctl.hide(str(Path(keys.ca).parent), "KEYS")

    def copied(*more: str, user: Sequence[str] = (), connect: Connect | None = None) -> None:
        with ctl.background(*user, *argv, *more):
            ctl.say(f"all there: {_counted(ctl, 'copy/', lambda count: count == 2, connect)}")
            ctl.run(*user, "put", "src/c", "3")
            ctl.run(*user, "del", "src/", "src/c")
            ctl.say(f"followed: {_counted(ctl, 'copy/', lambda count: count == 1, connect)}")

    if "--dest-user" in subprocess.run([ctl.binary, *argv[:1], "--help"], capture_output=True, text=True).stdout:
        copied(f"--dest-user={ROOT}:{PASSWORD}")
    else:  # 3.4 cannot say who it is there
        with _without_auth(ctl):
            copied(user=[NOBODY], connect=keys.connect)
    ctl.run("get", "copy/", "--prefix")


@chapter
def snapshot(play: Play) -> None:
    ctl, path = play.ctl, play.cluster.place / "saved"
    ctl.hide(str(play.cluster.place), "PLACE")
    ctl.run("put", "saved", "x")
    ctl.run(play.at(1, 2), "snapshot", "save", str(path))
    ctl.run(play.at(1), "snapshot", "save", str(path))
    for form in (*FORMS, "table"):
        ctl.run("snapshot", "status", str(path), "-w", form)
    where = ("--initial-cluster=new=http://127.0.0.1:1", "--initial-advertise-peer-urls=http://127.0.0.1:1")
    restored = play.cluster.place / f"restored-{len(list(play.cluster.place.iterdir()))}"
    ctl.hide(restored.name, "RESTORED")
    ctl.run("snapshot", "restore", str(path), f"--data-dir={restored}", "--name=new", *where)
    ctl.say(f"restored: {(restored / 'member' / 'snap' / 'db').stat().st_size > 0}")


@chapter
def users_and_roles(play: Play) -> None:
    ctl = play.ctl
    alice = "--user=alice:one"
    ctl.run("put", "foo", "1")
    ctl.run("role", "add", "r")
    ctl.run("role", "add", "r")
    ctl.run("role", "grant-permission", "r", "read", "foo")
    ctl.run("role", "grant-permission", "r", "readwrite", "dir/", "--prefix")
    ctl.run("role", "grant-permission", "r", "write", "x", "z")
    ctl.run("role", "grant-permission", "r", "bad", "x")
    ctl.run("user", "add", "alice:one")
    ctl.run("user", "add", "bob", "--no-password")
    ctl.run("user", "add", "carl", "--interactive=false", stdin="three\n")
    ctl.run("user", "add", "dora", "--new-user-password=four")
    ctl.run("user", "grant-role", "alice", "r")
    ctl.run("user", "grant-role", "alice", "gone")
    for form in FORMS:
        ctl.run("role", "get", "r", "-w", form)
        ctl.run("role", "list", "-w", form)
        ctl.run("user", "get", "alice", "-w", form)
        ctl.run("user", "list", "-w", form)
    ctl.run("user", "get", "alice", "--detail")
    for number in range(3):
        at = play.at(number)
        ctl.run(at, alice, "get", "foo")
        ctl.run(at, alice, "put", "foo", "2")
        ctl.run(at, alice, "put", "dir/a", "x")
        ctl.run(at, alice, "get", "", "--prefix")
        ctl.run(at, alice, "user", "list")
        ctl.run(at, "--user=alice:wrong", "get", "foo")
        ctl.run(at, NOBODY, "get", "foo")
    ctl.run(alice, "txn", stdin='val("foo") = "1"\n\nput dir/b x\n\nput foo x\n\n')
    ctl.run(alice, "endpoint", "health")
    ctl.run(alice, "user", "get", "alice")
    ctl.run("user", "passwd", "alice", "--interactive=false", stdin="new\n")
    ctl.run(alice, "get", "foo")
    ctl.run("--user=alice:new", "get", "foo")
    ctl.run("user", "revoke-role", "alice", "r")
    ctl.run("--user=alice:new", "get", "foo")
    ctl.run("role", "revoke-permission", "r", "foo")
    ctl.run("role", "revoke-permission", "r", "dir/", "--prefix")
    ctl.run("role", "get", "r")
    ctl.run("role", "delete", "r")
    ctl.run("role", "delete", "r")
    for name in ("alice", "bob", "carl", "dora", "root"):
        ctl.run("user", "delete", name)
    if "auth status" in commands(ctl.binary):
        ctl.run("auth", "status")
    with _without_auth(ctl):
        ctl.run(NOBODY, "get", "foo")
        ctl.run(play.at(1), NOBODY, "put", "foo", "free")
    ctl.run(play.at(2), NOBODY, "get", "foo")
    ctl.run(play.at(2), "get", "foo")


@chapter
def alarms(play: Play) -> None:
    ctl = play.ctl
    with Client(ctl.member.endpoint, ctl.connect) as client:
        raised = pb.AlarmRequest(action="ACTIVATE", memberID=0x1234, alarm="NOSPACE")
        assert client.call("Alarm", raised).ok
    for form in FORMS:
        ctl.run("alarm", "list", "-w", form)
    ctl.run("put", "k", "1")
    ctl.run("endpoint", "health")
    ctl.run(play.at(2), "alarm", "disarm")
    ctl.run("alarm", "list")
    ctl.run("put", "k", "2")


@chapter
def maintenance(play: Play) -> None:
    ctl = play.ctl
    ctl.run("put", "k", "1")
    for form in FORMS:
        ctl.run("endpoint", "health", "--cluster", "-w", form)
        ctl.run("endpoint", "status", "--cluster", "-w", form)
        ctl.run("endpoint", "hashkv", "--cluster", "-w", form)
        ctl.run("member", "list", "-w", form)
    ctl.run("defrag", "--cluster")
    ctl.run(play.at(0, 1, 2), "move-leader", ctl.ids[1])
    ctl.run(play.at(0, 1, 2), "endpoint", "status")


@chapter
def members(play: Play) -> None:
    ctl = play.ctl
    ctl.until(play.at(1), "member", "update", ctl.ids[2], f"--peer-urls={play.cluster.members[2].peer_url}")
    new = play.member("new")
    number = ctl.add("new", "--learner", f"--peer-urls={new.peer_url}")
    ctl.run("member", "promote", number)
    ctl.run("member", "list")
    play.start(new)
    ctl.until("member", "promote", number)
    ctl.until(f"--endpoints={new.endpoint}", "put", "by", "the new one")
    ctl.run(play.at(1), "member", "list", "-w", "json")
    ctl.until(play.at(2), "member", "remove", number)
    ctl.say(f"its process ended: {new.wait_exit(20.0) is not None}")
    ctl.run("member", "list")


@chapter
def checks_begin(play: Play) -> None:
    """That they end is another test: a minute each."""
    ctl = play.ctl
    for check in ("perf", "datascale"):
        ctl.run("put", f"{check}/k", "in the way")
        ctl.run("check", check, f"--prefix={check}/")
        ctl.run("del", f"{check}/k")
    assert play.keys is not None
    # It asks for metrics without TLS if the scheme is left out, and never heard of --cacert then.
    at, trust = f"--endpoints={ctl.member.client_url}", {"SSL_CERT_FILE": play.keys.ca}
    for check in ("perf", "datascale"):
        with ctl.background(at, "check", check, f"--prefix={check}/", env=trust):
            enough = _counted(ctl, f"{check}/", lambda count: count >= 100)
        ctl.steps.pop()
        ctl.say(f"{check} writes: {enough}")


def left_out(binary: Path, ran: list[tuple[str, int]]) -> set[str]:
    """The commands that have not once done what they are for: they ended well, or when they were told to."""
    good = {words for words, code in ran if code in (0, -signal.SIGTERM, 128 + signal.SIGTERM)}
    return {name for name in commands(binary) if not any(re.match(rf"{name}( |$)", words) for words in good)}
