"""endpoint, member, alarm, defrag, move-leader and snapshot answer as stock etcdctl does, byte for byte."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest

from quorate.api.plain import encode
from quorate.testing.process import Command, MemberProcess
from quorate.transport.grpc.blocking import BlockingChannel

from ctl_pair import OURS, Answer, Pair, Side  # isort: skip

pytestmark = pytest.mark.real

FORMATS = ("simple", "json", "fields", "protobuf", "table", "bogus")
NOSPACE, CORRUPT = 1, 2
NOBODY = "127.0.0.1:9"
READS = (
    "endpoint status",
    "endpoint health",
    "endpoint hashkv",
    "endpoint hashkv --rev 2",
    "endpoint hashkv --rev 1000",
    "endpoint status --cluster",
    "endpoint --cluster health",
    "endpoint hashkv --cluster",
    "member list",
    "member list --hex",
    "endpoint status --hex",
    "alarm list",
    "alarm list --hex",
    "defrag",
    "defrag --cluster",
)
BAD = (
    "endpoint status x y",
    "endpoint health x",
    "endpoint hashkv --rev=abc",
    "endpoint hashkv --rev=-1",
    "endpoint nosuch",
    "endpoint",
    "member",
    "member nosuch",
    "member list x",
    "member lis",
    "member add",
    "member add a b --peer-urls=http://127.0.0.1:1",
    "member add a",
    "member add a --peer-urls=foo",
    "member add a --peer-urls=ftp://a:1",
    "member add a --peer-urls=http://127.0.0.1",
    "member add a --peer-urls=http://127.0.0.1:1/a",
    "member add a --peer-urls=http://a:1,,http://b:1",
    "member add --peer-urls=http://127.0.0.1:1",
    "member remove",
    "member remove zz",
    "member remove 12",
    "member remove 1 2",
    "member remove -1",
    "member remove 123456789012345678",
    "member update",
    "member update zz",
    "member update 12",
    "member update 12 --peer-urls=http://127.0.0.1:2",
    "member update 12 --peer-urls=foo",
    "member promote",
    "member promote zz",
    "member promote 12",
    "alarm",
    "alarm list x",
    "alarm disarm x",
    "move-leader",
    "move-leader zz",
    "move-leader 12",
    "defrag x",
    "snapshot",
    "snapshot nosuch",
    "snapshot save",
    "snapshot save a b",
    "snapshot save /nosuch/x",
    "snapshot save /nosuch/x -w bogus",
    "snapshot status",
    "snapshot restore",
)
FAR = (
    "endpoint status",
    "endpoint hashkv",
    "endpoint health",
    "defrag",
    "snapshot save x",
    "move-leader 12",
)


def tidy(text: bytes) -> bytes:
    """Without times, sizes, which hang on when rows were written, and without what etcd 3.5 does not tell of itself."""
    text = re.sub(rb" *[0-9.]+ [kM]B", b" size", text)
    text = re.sub(rb'("DBSize" : |"dbSize":|"dbSizeInUse":)[0-9]+', rb"\1size", text)
    text = re.sub(rb"took = [^\n]*", b"took", text)
    text = re.sub(rb'"Took" : [^\n]*', b"took", text)
    text = re.sub(rb'"took":"[^"]*"', b'"took":""', text)
    text = re.sub(rb'"storageVersion":"[^"]*",|"dbSizeQuota":[0-9]+,|"downgradeInfo":\{\}', b"", text)
    text = re.sub(rb'"hash_revision":[0-9]+', b"", text).replace(b",}", b"}")
    if b" TOOK " in text:
        text = b"\n".join(b"|".join(line.split(b"|")[1:3] + line.split(b"|")[4:]) for line in text.split(b"\n"))
        text = re.sub(rb" {2,}", b" ", text)
    return text


@pytest.fixture(params=["pair", "quorate_pair"])
def either(request: pytest.FixtureRequest) -> Pair:
    """Both beside new servers."""
    found = request.getfixturevalue(request.param)
    assert isinstance(found, Pair)
    return found


def activate(pair: Pair, member: int, alarm: int) -> None:
    """Raise an alarm that nothing is the matter with."""
    for endpoint in {pair.stock.endpoint, pair.ours.endpoint}:
        host, _, port = endpoint.rpartition(":")
        request = encode("AlarmRequest", {"action": 1, "memberID": member, "alarm": alarm})
        with BlockingChannel(host, int(port)) as channel:
            channel.unary("/etcdserverpb.Maintenance/Alarm", request)


def test_answers_about_members_look_alike_in_every_format(one: Pair) -> None:
    one.same("put", "a", "b")
    for form in FORMATS:
        for words in READS:
            one.same(*words.split(), "-w", form, tidy=tidy)
    one.same("endpoint", "status", "--endpoints", f"http://{one.ours.endpoint}", tidy=tidy)


def test_what_cannot_be_done_is_refused_alike(one: Pair) -> None:
    for words in BAD:
        one.same(*words.split(), tidy=tidy)


def test_an_endpoint_that_is_not_there_does_not_hide_the_others(one: Pair) -> None:
    both = f"--endpoints={one.ours.endpoint},{NOBODY}"
    for words in FAR:
        one.same(*words.split(), both, "--command-timeout=1s", tidy=tidy)
    for form in ("json", "fields", "table"):
        for words in FAR[:3]:
            one.same(*words.split(), f"--endpoints={NOBODY}", "-w", form, "--command-timeout=1s", tidy=tidy)
    one.same("endpoint", "status", "--cluster", f"--endpoints={NOBODY}", "--command-timeout=1s")
    one.same("member", "list", f"--endpoints={NOBODY}", "--command-timeout=1s")


def test_alarms_look_alike_in_every_format(either: Pair) -> None:
    for form in ("simple", "json", "protobuf", "table", "fields"):
        activate(either, 2**63 + 18, CORRUPT)
        for words in ("alarm list", "endpoint health", "endpoint status"):
            either.same(*words.split(), "-w", form, tidy=tidy)
        if form != "fields":  # stock etcdctl crashes
            either.same("alarm", "disarm", "-w", form)
        either.same("alarm", "disarm")
        either.same("alarm", "list")


def test_all_alarms_are_shown_and_disarmed(either: Pair) -> None:
    activate(either, 18, NOSPACE)
    activate(either, 2**63 + 18, CORRUPT)
    for words in ("alarm list", "alarm list -w json", "endpoint health", "endpoint health -w json", "alarm disarm"):
        answer = either.same(*words.split(), tidy=in_any_order)
        assert b"NOSPACE" in answer.out + answer.err or b'"alarm":1' in answer.out, answer
    either.same("alarm", "list")


def in_any_order(text: bytes) -> bytes:
    """Words sorted, where what comes from a map has been put into a line."""
    return b" ".join(sorted(re.split(rb"[ \n,{}]", tidy(text))))


def test_a_table_wraps_the_alarms_of_a_member_as_stock_does(one: Pair) -> None:
    for members in ((), (1,), (1, 2**64 - 1), (1, 2**64 - 1, 7, 77, 777777777)):
        for member in members:
            activate(one, member, NOSPACE)
        errors = set()
        for _ in range(20):  # they come in any order: look until both have had the same one
            stock, ours = (side.run(("endpoint", "status", "-w", "table")) for side in (one.stock, one.ours))
            errors.add(stock.out)
            if ours.out in errors:
                break
        else:
            pytest.fail(f"{ours.out.decode()} is not among {errors}")


def test_members_change_alike(either: Pair) -> None:
    for number, (form, flags) in enumerate((("simple", ""), ("json", ""), ("json", "--hex"), ("fields", ""))):
        urls = f"--peer-urls=http://127.0.0.1:{number + 10},http://localhost:{number + 10}"
        either.same("member", "add", 'n"1', "--learner", urls, tidy=by_url)
        either.same("member", "list", "-w", "simple", tidy=by_url)
        either.same("member", "promote", "{member}")
        words = f"member update {{member}} --peer-urls=http://127.0.0.1:{number + 20} -w {form} {flags}"
        either.same(*words.split(), tidy=by_url)
        either.same(*f"member remove {{member}} -w {form} {flags}".split(), tidy=by_url)
        either.same("member", "list")
    either.same("member", "add", "taken", "--peer-urls=http://127.0.0.1:1")
    either.same("member", "add", "voter", "--peer-urls= http://127.0.0.1:40", tidy=by_url)


def by_url(text: bytes) -> bytes:
    """Members are listed by ids, and these depend on the time."""
    if text.startswith(b"{"):
        reply = json.loads(text)
        reply["members"].sort(key=lambda member: str(member["peerURLs"]))
        return json.dumps(reply).encode()
    lines = [line for line in text.split(b"\n") if line]
    if b" added to cluster" not in text:
        lines.sort(key=lambda line: line.split(b",")[1:])
    for at, line in enumerate(lines):
        if line.startswith(b"ETCD_INITIAL_CLUSTER="):
            lines[at] = b",".join(sorted(line[22:-1].split(b",")))
    return b"\n".join(lines)


def test_a_snapshot_is_the_database_and_the_file_is_there_only_when_whole(one: Pair, tmp_path: Path) -> None:
    one.same("put", "snap", "shot")
    for form in FORMATS:
        path = tmp_path / form
        one.same("snapshot", "save", str(path), "-w", form)
        assert path.exists() == (form != "bogus")
    assert one.ours.run(("snapshot", "save", str(tmp_path / "ours"))).code == 0
    assert b"shot" in (tmp_path / "ours").read_bytes()
    assert (tmp_path / "ours").stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_leadership_goes_where_it_is_sent_and_a_learner_gets_its_vote(tmp_path: Path, stock: Command) -> None:
    members = [MemberProcess(tmp_path / name, name=name) for name in ("a", "b")]
    initial = ",".join(f"{member.name}={member.peer_url}" for member in members)
    for member in members:
        member.flags.append(f"--initial-cluster={initial}")
        member.spawn()
    late = MemberProcess(tmp_path / "c", name="c")
    try:
        for member in members:
            member.wait_ready()
        both = ",".join(member.endpoint for member in members)
        ours, theirs = Side(OURS, both), Side(stock, both)
        rows = [line.split(b", ") for line in ours.run(["endpoint", "status"]).out.splitlines()]
        (leader,) = (row for row in rows if row[4] == b"true")
        (other,) = (row for row in rows if row[4] == b"false")
        for side, old, new in ((ours, leader, other), (theirs, other, leader)):
            answer = until_not(b"unhealthy cluster", side, "move-leader", new[1].decode())
            assert answer == (0, b"Leadership transferred from %s to %s\n" % (old[1], new[1]), b""), side
        Pair(theirs, ours).same("move-leader", leader[1].decode(), f"--endpoints={other[0].decode()}")
        added = ours.shown(
            until_not(b"unhealthy cluster", ours, "member", "add", "c", "--learner", f"--peer-urls={late.peer_url}")
        )
        assert added.code == 0, added
        late.flags += ["--initial-cluster-state=existing", f"--initial-cluster={initial},c={late.peer_url}"]
        late.start()
        answer = until_not(b"in sync with leader", ours, "member", "promote", "{member}")
        assert re.fullmatch(rb"Member [ 0-9a-f]{16} promoted in cluster [ 0-9a-f]{16}\n", answer.out)
    finally:
        for member in (*members, late):
            member.stop()


def until_not(refusal: bytes, side: Side, *words: str) -> Answer:
    """The first answer that is not this refusal: members must know each other for seconds first."""
    until = time.monotonic() + 30
    while refusal in (answer := side.run(words)).err:
        assert time.monotonic() < until, answer
        time.sleep(0.1)
    return answer
