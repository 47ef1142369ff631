"""Encrypted client ports, with stock etcdctl and curl as witnesses; where it says `either`, real etcd beside it."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.certificates import Authority, Issued
from quorate.testing.process import Command, MemberProcess, free_port
from quorate.transport.grpc import Channel

START = Callable[..., MemberProcess]
DAY = timedelta(days=1)
SECONDS = 20.0

PIECE, PIECES, READERS = 1_000_000, 10, 10
NEWS = 40


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    return authority.issue("server", hosts=["127.0.0.1"])


@pytest.fixture(scope="module")
def friend(authority: Authority) -> Issued:
    return authority.issue("friend")


@pytest.fixture(params=["subject", "real"])
def either(request: pytest.FixtureRequest) -> Command:
    """The command of the member under test, then of real etcd."""
    command: Command = request.getfixturevalue(f"{request.param}_command")
    return command


def serving(own: Issued, *more: str) -> tuple[str, ...]:
    return (f"--cert-file={own.cert}", f"--key-file={own.key}", *more)


class Ctl:
    """Stock etcdctl with certificates."""

    def __init__(self, binary: Path, member: MemberProcess, ca: str = "", shown: Issued | None = None) -> None:
        self.flags = [f"--endpoints={member.client_url}"]
        self.flags += [f"--cacert={ca}"] if ca else ["--insecure-transport=false", "--insecure-skip-tls-verify"]
        if shown is not None:
            self.flags += [f"--cert={shown.cert}", f"--key={shown.key}"]
        self.binary = binary

    def argv(self, words: Sequence[str]) -> list[str]:
        return [str(self.binary), *self.flags, *words]

    def __call__(self, *words: str, stdin: str | None = None) -> str:
        done = subprocess.run(self.argv(words), capture_output=True, text=True, timeout=SECONDS, input=stdin)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def refusal(self, *words: str) -> str:
        """What it says of a command that it cannot do."""
        done = subprocess.run(self.argv(words), capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode != 0, f"{words}: {done.stdout}"
        return done.stderr

    def is_refused(self) -> bool:
        words = ["--command-timeout=1s", "--dial-timeout=1s", "get", "k"]
        done = subprocess.run(self.argv(words), capture_output=True, text=True, timeout=SECONDS)
        return done.returncode != 0


@pytest.mark.real
def test_etcdctl_works_over_tls_with_certificates_on_both_sides(
    start_member: START, etcdctl: Path, authority: Authority, own: Issued, friend: Issued, tmp_path: Path
) -> None:
    flags = serving(own, "--client-cert-auth", f"--trusted-ca-file={authority.ca}")
    member = start_member(flags=flags, client_scheme="https")
    ctl = Ctl(etcdctl, member, authority.ca, friend)
    assert ctl("put", "k", "v") == "OK\n"
    assert ctl("get", "k") == "k\nv\n"
    assert "m0" in ctl("member", "list")
    assert json.loads(ctl("endpoint", "health", "-w", "json"))[0]["health"] is True
    assert ctl("txn", stdin='value("k") = "v"\n\nput k w\n\n\n').startswith("SUCCESS")
    big = "x" * 1_000_000
    ctl("put", "big", stdin=big)
    assert ctl("get", "big", "--print-value-only").strip() == big
    told = tmp_path / "told"
    with told.open("wb") as out, subprocess.Popen(ctl.argv(["watch", "w"]), stdout=out) as watch:
        try:
            deadline = time.monotonic() + SECONDS
            while "w\nnews" not in told.read_text():
                assert time.monotonic() < deadline, told.read_text()
                ctl("put", "w", "news")
        finally:
            watch.kill()


@pytest.mark.real
def test_the_same_callers_are_refused_as_by_real_etcd(
    start_member: START, either: Command, etcdctl: Path, own: Issued, friend: Issued, tmp_path: Path
) -> None:
    """A trusted CA alone asks for certificates; a list of revoked ones counts."""
    authority = Authority(tmp_path / "ca")
    own = authority.issue("server", hosts=["127.0.0.1"])
    thief, good = authority.issue("thief"), authority.issue("good", hosts=["127.9.9.9"])
    flags = serving(own, f"--trusted-ca-file={authority.ca}", f"--client-crl-file={authority.revoke(thief)}")
    member = start_member(either, flags=flags, client_scheme="https")
    assert Ctl(etcdctl, member, authority.ca, good)("put", "k", "v") == "OK\n"
    callers = (
        None,
        Authority(tmp_path / "other").issue("stranger"),
        authority.issue("late", begins=-2 * DAY, ends=-DAY),
        thief,
    )
    for shown in callers:
        assert Ctl(etcdctl, member, authority.ca, shown).is_refused(), shown
    assert member.log().count('"rejected connection"') >= len(callers)
    assert f"certificate serial {thief.told_serial} revoked" in member.log()


@pytest.mark.real
def test_the_name_of_a_client_counts_as_by_real_etcd(
    start_member: START, either: Command, etcdctl: Path, authority: Authority, own: Issued
) -> None:
    names = ("--client-cert-auth", f"--trusted-ca-file={authority.ca}", "--client-cert-allowed-hostname=a.example")
    # The gateway of real etcd calls its own member, with this certificate.
    own = authority.issue("named", hosts=["127.0.0.1", "a.example"])
    member = start_member(either, flags=serving(own, *names), client_scheme="https")
    right, wrong = authority.issue("right", hosts=["a.example"]), authority.issue("wrong", hosts=["b.example"])
    assert Ctl(etcdctl, member, authority.ca, right)("put", "k", "v") == "OK\n"
    assert Ctl(etcdctl, member, authority.ca, wrong).is_refused()
    assert "client certificate authentication failed" in member.log()


@pytest.mark.real
def test_a_certificate_names_its_user_while_auth_is_on(
    start_member: START, either: Command, etcdctl: Path, authority: Authority
) -> None:
    """Without a password; where one is given, that counts."""
    own = authority.issue("server", hosts=["127.0.0.1"])
    trusted = f"--trusted-ca-file={authority.ca}"
    member = start_member(either, flags=serving(own, "--client-cert-auth", trusted), client_scheme="https")
    root, reader, stranger = (
        Ctl(etcdctl, member, authority.ca, authority.issue(name)) for name in ("root", "reader", "stranger")
    )
    root("put", "k", "v")
    root("user", "add", "root", "--no-password")
    root("user", "add", "reader:secret")
    root("role", "add", "look")
    root("role", "grant-permission", "look", "read", "k")
    root("user", "grant-role", "reader", "look")
    root("role", "add", "root")
    root("user", "grant-role", "root", "root")
    root("auth", "enable")
    assert reader("get", "k") == "k\nv\n"
    assert "permission denied" in reader.refusal("put", "k", "w")
    assert "permission denied" in reader.refusal("get", "l")
    assert "permission denied" in stranger.refusal("get", "k")
    assert stranger("get", "k", "--user=reader:secret") == "k\nv\n"
    assert "authentication failed" in root.refusal("get", "k", "--user=reader:wrong")
    assert "reader" in root("user", "list")
    root("auth", "disable")
    assert stranger("put", "k", "w") == "OK\n"


def test_side_doors_are_encrypted_too(start_member: START, authority: Authority, own: Issued, friend: Issued) -> None:
    if shutil.which("curl") is None:
        pytest.skip("no curl here")
    member = start_member(flags=serving(own, f"--trusted-ca-file={authority.ca}"), client_scheme="https")

    def curl(path: str, *more: str) -> subprocess.CompletedProcess[str]:
        argv = ["curl", "-s", "--max-time", "10", "--cacert", authority.ca, *more, member.client_url + path]
        return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS)

    shown = ("--cert", friend.cert, "--key", friend.key)
    for protocol in ("--http1.1", "--http2"):
        assert json.loads(curl("/health", protocol, *shown).stdout)["health"] == "true"
        assert "etcdserver" in json.loads(curl("/version", protocol, *shown).stdout)
        assert "etcd_server_has_leader 1" in curl("/metrics", protocol, *shown).stdout
        assert curl("/health", protocol).returncode != 0


@pytest.mark.real
def test_one_member_listens_with_and_without_encryption(
    start_member: START, etcdctl: Path, authority: Authority, own: Issued
) -> None:
    plain = free_port()
    member = start_member(run=False, client_scheme="https")
    urls = f"{member.client_url},http://127.0.0.1:{plain}"
    member.flags = [*serving(own), f"--listen-client-urls={urls}", f"--advertise-client-urls={urls}"]
    member.start()
    assert Ctl(etcdctl, member, authority.ca)("put", "k", "v") == "OK\n"
    member.client_port, member.client_scheme = plain, "http"
    assert Ctl(etcdctl, member)("get", "k") == "k\nv\n"
    log = member.log()
    assert "serving client traffic securely" in log
    assert "serving client traffic insecurely; this is strongly discouraged!" in log
    assert "scheme is HTTP while key and cert files are present; ignoring key and cert files" in log


@pytest.mark.real
def test_files_are_replaced_while_the_member_runs(start_member: START, etcdctl: Path, tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    own, caller = old.issue("server", hosts=["127.0.0.1"]), old.issue("caller")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(Path(old.ca).read_bytes())
    old.revoke()
    more = (f"--trusted-ca-file={trusted}", f"--client-crl-file={old.crl}")
    member = start_member(flags=serving(own, *more), client_scheme="https")
    assert Ctl(etcdctl, member, old.ca, caller)("put", "k", "v") == "OK\n"
    fresh, newcomer = new.issue("server", hosts=["127.0.0.1"]), new.issue("newcomer")
    assert Ctl(etcdctl, member, old.ca, newcomer).is_refused()
    os.replace(fresh.key, own.key)
    os.replace(fresh.cert, own.cert)
    trusted.write_bytes(Path(old.ca).read_bytes() + Path(new.ca).read_bytes())
    assert Ctl(etcdctl, member, new.ca, newcomer)("get", "k") == "k\nv\n"
    assert Ctl(etcdctl, member, new.ca, caller)("get", "k") == "k\nv\n"
    old.revoke(caller)
    assert Ctl(etcdctl, member, new.ca, caller).is_refused()
    assert Ctl(etcdctl, member, new.ca, newcomer)("get", "k") == "k\nv\n"


@pytest.mark.real
def test_a_member_makes_its_own_certificate_and_keeps_it(start_member: START, etcdctl: Path) -> None:
    member = start_member(flags=("--auto-tls", "--self-signed-cert-validity=3"), client_scheme="https")
    cert, key = (member.data_dir / "fixtures" / "client" / name for name in ("cert.pem", "key.pem"))
    made = x509.load_pem_x509_certificate(cert.read_bytes())
    assert 3 * 364 * DAY < made.not_valid_after_utc - made.not_valid_before_utc < 3 * 366 * DAY
    assert key.stat().st_mode & 0o777 == 0o600
    assert Ctl(etcdctl, member)("put", "k", "v") == "OK\n"
    assert Ctl(etcdctl, member, str(cert))("get", "k") == "k\nv\n"
    member.stop()
    member.start()
    assert x509.load_pem_x509_certificate(cert.read_bytes()) == made
    assert Ctl(etcdctl, member, str(cert))("get", "k") == "k\nv\n"
    assert "found invalid file" not in member.log()


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ((), "TLS key/cert (--cert-file, --key-file) must be provided for client url {url} with HTTPS scheme"),
        (("--cert-file=/nope", "--key-file=/nope"), "open /nope: no such file or directory"),
        (("--auto-tls", "--cipher-suites=foo"), 'unexpected TLS cipher suite \\"foo\\"'),
        (("--auto-tls", "--tls-min-version=TLS1.3", "--tls-max-version=TLS1.2"), "is greater than max version"),
        (("--auto-tls", "--self-signed-cert-validity=0"), "selfSignedCertValidity is invalid"),
    ],
)
def test_a_member_without_usable_certificates_ends_with_one_line(
    start_member: START, flags: tuple[str, ...], text: str
) -> None:
    member = start_member(flags=flags, run=False, client_scheme="https")
    member.spawn()
    assert member.wait_exit(SECONDS) == 1
    assert text.format(url=member.client_url) in member.log()
    assert '"level":"fatal"' in member.log() or '"msg":"failed to verify flags"' in member.log()
    assert "Traceback" not in member.log()


async def _slowest_news(member: MemberProcess, context: ssl.SSLContext) -> float:
    """Seconds from a put to its event, at most, on a connection that carries large answers all the time."""
    shared, other = (
        Channel("127.0.0.1", member.client_port, ssl=context),
        Channel("127.0.0.1", member.client_port, ssl=context),
    )
    loop = asyncio.get_running_loop()
    for n in range(PIECES):
        put = pb.PutRequest(key=b"big/%d" % n, value=b"x" * PIECE)
        await other.unary("/etcdserverpb.KV/Put", put.SerializeToString(), timeout=SECONDS)
    news: dict[bytes, float] = {}
    watch = shared.stream("/etcdserverpb.Watch/Watch")
    watch.send(pb.WatchRequest(create_request=pb.WatchCreateRequest(key=b"w")).SerializeToString())
    assert pb.WatchResponse.FromString(await anext(aiter(watch))).created

    async def listen() -> None:
        async for answer in watch:
            for event in pb.WatchResponse.FromString(answer).events:
                news[event.kv.value] = loop.time()

    async def read() -> None:
        whole = pb.RangeRequest(key=b"big/", range_end=b"big0", serializable=True).SerializeToString()
        while True:
            assert len(await shared.unary("/etcdserverpb.KV/Range", whole, timeout=SECONDS)) > PIECES * PIECE

    tasks = [loop.create_task(work()) for work in (listen, *[read] * READERS)]
    written: dict[bytes, float] = {}
    for n in range(NEWS):
        value = b"%d" % n
        written[value] = loop.time()
        request = pb.PutRequest(key=b"w", value=value).SerializeToString()
        await other.unary("/etcdserverpb.KV/Put", request, timeout=SECONDS)
        await asyncio.sleep(0.05)
    async with asyncio.timeout(SECONDS):
        while len(news) < NEWS:  # noqa: ASYNC110 - what it waits for has no event
            await asyncio.sleep(0.01)
    for task in tasks:
        assert not task.done(), task
        task.cancel()
    await shared.close()
    await other.close()
    return max(news[value] - when for value, when in written.items())


def test_large_answers_on_a_connection_keep_no_watcher_waiting(
    start_member: START, authority: Authority, own: Issued
) -> None:
    """etcd issue 15402."""
    member = start_member(flags=serving(own), client_scheme="https")
    context = ssl.create_default_context(cafile=authority.ca)
    delay = asyncio.run(_slowest_news(member, context))
    print(f"slowest event after {delay:.3f} s")
    assert delay < 2.0


@pytest.mark.real
@pytest.mark.parametrize("scheme", ["unix", "unixs"])
def test_clients_come_by_unix_sockets(
    start_member: START, etcdctl: Path, authority: Authority, own: Issued, tmp_path: Path, scheme: str
) -> None:
    path = tmp_path / "s"
    member = start_member(run=False)
    urls = f"{scheme}://{path},{member.client_url}"
    member.flags = [*serving(own), f"--listen-client-urls={urls}", f"--advertise-client-urls={urls}"]
    member.start()
    trust = ["--insecure-transport=false", "--insecure-skip-tls-verify"] if scheme == "unixs" else []
    for words in (["put", "k", "v"], ["get", "k"]):
        argv = [str(etcdctl), f"--endpoints={scheme}://{path}", *trust, *words]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
    assert done.stdout == "k\nv\n"
    member.kill()
    member.start()  # what it has left behind is in nobody's way
    assert Ctl(etcdctl, member, authority.ca)("get", "k") == "k\nv\n"
    member.stop()
    assert not path.exists()
