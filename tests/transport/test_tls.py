"""Encrypted listeners: who is let in, who is not, and what the files may do meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate
from grpc_support import PREFIX, Service, until

from quorate.testing.certificates import Authority, Issued
from quorate.transport.grpc import Channel, GrpcServer, Status
from quorate.transport.http1_client import HttpClient, HttpError
from quorate.transport.mux import Listener, serve
from quorate.transport.tls import ClientTls, ServerTls, TlsError, TlsSettings, acceptor
from quorate.transport.tls.checks import common_name
from quorate.transport.web import HttpRequest, HttpResponse, text_response

HOST = "127.0.0.1"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    """The listener's certificate."""
    return authority.issue("server", hosts=[HOST, "localhost"])


@pytest.fixture(scope="module")
def friend(authority: Authority) -> Issued:
    """A client's certificate."""
    return authority.issue("friend")


@pytest.fixture(autouse=True)
def rejections() -> Iterator[list[dict[str, object]]]:
    """Fields of the lines that say `rejected connection`."""
    found: list[dict[str, object]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage() == "rejected connection":
                found.append(record.fields)  # type: ignore[attr-defined]

    keep = Keep()
    log = logging.getLogger("quorate.transport.tls.acceptor")
    log.addHandler(keep)
    yield found
    log.removeHandler(keep)


def write(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


def pem(certificate: Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


async def web(request: HttpRequest) -> HttpResponse:
    return text_response(200, common_name(request.extra("peercert") or {}))


@contextlib.asynccontextmanager
async def listening(settings: TlsSettings, grpc: GrpcServer | None = None) -> AsyncIterator[Listener]:
    listener = await serve((HOST, 0), grpc, web, tls=ServerTls(settings))
    try:
        yield listener
    finally:
        listener.close()
        await until(lambda: listener.connections == 0)


def server(own: Issued, **more: object) -> TlsSettings:
    return TlsSettings(cert_file=own.cert, key_file=own.key, **more)  # type: ignore[arg-type]


def client(authority: Authority, shown: Issued | None = None, **more: object) -> TlsSettings:
    shown = shown or Issued("", "", 0)
    return TlsSettings(cert_file=shown.cert, key_file=shown.key, trusted_ca_file=authority.ca, **more)  # type: ignore[arg-type]


async def ask(listener: Listener, settings: TlsSettings, host: str = HOST) -> str:
    """The common name that the listener sees. Raises OSError when there is no answer."""
    http = HttpClient(tls=ClientTls(settings), connect_timeout=5.0)
    try:
        return (await http.request("GET", f"https://{host}:{listener.port}/", timeout=5.0)).body.decode().strip()
    finally:
        await http.close()


async def is_refused(listener: Listener, settings: TlsSettings) -> bool:
    try:
        await ask(listener, settings)
    except (OSError, HttpError) as error:
        assert not isinstance(error, TimeoutError), "not refused, but left waiting"
        return True
    return False


# Who is let in.


async def test_without_a_ca_everybody_is_let_in(authority: Authority, own: Issued, friend: Issued) -> None:
    async with listening(server(own)) as listener:
        assert await ask(listener, client(authority)) == ""
        assert await ask(listener, client(authority, friend)) == ""


async def test_with_a_ca_its_certificates_are_let_in_and_nobody_else(
    authority: Authority, own: Issued, friend: Issued, rejections: list[dict[str, object]], tmp_path: Path
) -> None:
    other = Authority(tmp_path, "other")
    late = authority.issue("late", begins=-2 * DAY, ends=-DAY)
    early = authority.issue("early", begins=DAY, ends=2 * DAY)
    async with listening(server(own, trusted_ca_file=authority.ca)) as listener:
        assert await ask(listener, client(authority, friend)) == "friend"
        for shown, reason in (
            (None, "tls: client didn't provide a certificate"),
            (other.issue("friend"), "certificate signed by unknown authority"),
            (late, "certificate has expired"),
            (early, "certificate is not yet valid"),
        ):
            assert await is_refused(listener, client(authority, shown))
            await until(lambda: len(rejections) > 0)
            told = rejections.pop()
            assert reason in str(told["error"])
            assert str(told["remote_addr"]).startswith(f"{HOST}:")
        assert await ask(listener, client(authority, friend)) == "friend"


async def test_who_is_refused_in_the_handshake_hears_why(
    authority: Authority, own: Issued, rejections: list[dict[str, object]]
) -> None:
    async with listening(server(own, trusted_ca_file=authority.ca)) as listener:
        context = ssl.create_default_context(cafile=authority.ca)
        with pytest.raises(ssl.SSLError, match="ALERT_CERTIFICATE_REQUIRED"):
            reader, _ = await asyncio.open_connection(HOST, listener.port, ssl=context, server_hostname="localhost")
            await reader.read()
        await until(lambda: [told["server_name"] for told in rejections] == ["localhost"])


@pytest.mark.parametrize("rule", ["allowed_cns", "allowed_hostnames"])
async def test_names_are_asked_for(
    authority: Authority, own: Issued, rule: str, rejections: list[dict[str, object]]
) -> None:
    wanted, other = ("one", "two") if rule == "allowed_cns" else ("one.example", "two.example")
    right = authority.issue("right", cn=wanted, hosts=["one.example"])
    wrong = authority.issue("wrong", cn="three", hosts=["three.example"])
    async with listening(server(own, trusted_ca_file=authority.ca, **{rule: (other, wanted)})) as listener:
        assert await ask(listener, client(authority, right)) == wanted
        assert await is_refused(listener, client(authority, wrong))
        await until(lambda: len(rejections) == 1)
        assert rejections[0]["error"] == "client certificate authentication failed"
        assert rejections[0]["dns_names"] == ["three.example"]


async def test_a_caller_asks_for_names_too(authority: Authority, own: Issued) -> None:
    async with listening(server(own)) as listener:
        assert await ask(listener, client(authority, allowed_cns=("server",))) == ""
        assert await ask(listener, client(authority, allowed_hostnames=("localhost",))) == ""
        assert await is_refused(listener, client(authority, allowed_cns=("friend",)))
        assert await is_refused(listener, client(authority, allowed_hostnames=("other.example",)))


async def test_a_caller_checks_whom_it_calls(authority: Authority, own: Issued, tmp_path: Path) -> None:
    elsewhere = authority.issue("elsewhere", hosts=["127.0.0.2"], cn=HOST)
    async with listening(server(elsewhere)) as listener:
        assert await is_refused(listener, client(authority))
        assert await ask(listener, TlsSettings(trust_all=True)) == ""
    async with listening(server(authority.issue("localhost"))) as listener:
        with pytest.raises(ssl.SSLError, match="Hostname mismatch"):  # a common name is no host
            await ask(listener, client(authority), "localhost")
    async with listening(server(own)) as listener:
        assert await ask(listener, client(authority), "localhost") == ""
        assert await is_refused(listener, client(Authority(tmp_path, "other")))
        assert await is_refused(listener, TlsSettings())


async def test_a_caller_must_be_where_its_names_say(
    authority: Authority, own: Issued, friend: Issued, rejections: list[dict[str, object]]
) -> None:
    settings = server(own, trusted_ca_file=authority.ca, check_client_address=True)
    async with listening(settings) as listener:
        for number, hosts in enumerate(([HOST], ["127.0.0.2", HOST], ["localhost"], ["127.0.0.2", "localhost"])):
            assert await ask(listener, client(authority, authority.issue(f"here{number}", hosts=hosts)))
        assert await ask(listener, client(authority, friend)) == "friend"
        assert not rejections
        for hosts in (["127.0.0.2"], ["nowhere.invalid"], ["*.nowhere.invalid"], ["127.0.0.2", "nowhere.invalid"]):
            assert await is_refused(listener, client(authority, authority.issue("away", hosts=hosts)))
        await until(lambda: len(rejections) == 4)
        assert rejections[0]["error"] == "x509: certificate is valid for 127.0.0.2, not 127.0.0.1"
        assert rejections[1]["error"] == 'tls: "127.0.0.1" does not match any of DNSNames ["nowhere.invalid"]'


async def calls(listener: Listener, settings: TlsSettings) -> str:
    channel = Channel(HOST, listener.port, ssl=ClientTls(settings).context())
    try:
        return (await channel.unary(PREFIX + "Echo", b"hi", timeout=5.0)).decode()
    finally:
        await channel.close()


@pytest.mark.parametrize("kind", ["both", "grpc alone", "http alone"])
async def test_every_listener_makes_the_same_checks(
    own: Issued, kind: str, tmp_path: Path, rejections: list[dict[str, object]]
) -> None:
    """GHSA-3wh4-j44w-pg92: what is served makes no difference to who is let in."""
    authority = Authority(tmp_path)
    own = authority.issue("own", hosts=[HOST])
    good, revoked = (authority.issue(name, hosts=["a.example", HOST]) for name in ("good", "revoked"))
    misnamed = authority.issue("misnamed", hosts=["b.example", HOST])
    misplaced = authority.issue("misplaced", hosts=["127.0.0.9", "a.example"])
    rules = {"allowed_hostnames": ("a.example",), "check_client_address": True}
    settings = server(own, trusted_ca_file=authority.ca, crl_file=authority.revoke(revoked), **rules)
    methods = None if kind == "http alone" else GrpcServer(Service().methods())
    listener = await serve((HOST, 0), methods, None if kind == "grpc alone" else web, tls=ServerTls(settings))
    doors = [*([calls] if methods else []), *([] if kind == "grpc alone" else [ask])]
    for door in doors:
        assert await door(listener, client(authority, good))
        for shown in (revoked, misnamed, misplaced, None):
            with pytest.raises((OSError, HttpError, Status)) as caught:
                await door(listener, client(authority, shown))
            assert not isinstance(caught.value, TimeoutError)
    await until(lambda: len(rejections) >= 4 * len(doors))
    listener.close()


async def test_an_intermediate_authority_counts(authority: Authority, own: Issued, tmp_path: Path) -> None:
    middle = Authority(tmp_path, "middle", parent=authority)
    shown = middle.issue("below")
    async with listening(server(own, trusted_ca_file=authority.ca)) as listener:
        assert await ask(listener, client(authority, shown)) == "below"
    async with listening(server(own, trusted_ca_file=middle.ca)) as listener:
        assert await ask(listener, client(authority, shown)) == "below"
        assert await is_refused(listener, client(authority, authority.issue("beside")))


def resume(port: int, context: ssl.SSLContext, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bytes]:
    """One request on a connection that would go on with an earlier session; its session, and what comes back."""
    raw = socket.create_connection((HOST, port), timeout=5)
    try:
        with context.wrap_socket(raw, server_hostname=HOST, session=session) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
            answer = connection.recv(1000)
            session = connection.session
            connection.unwrap()  # a session of a connection that was not ended properly is no more
            return session, answer
    except OSError:
        return None, b""


@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3"])
async def test_a_certificate_that_has_ended_is_good_for_no_more_connections(
    authority: Authority, own: Issued, version: str, rejections: list[dict[str, object]]
) -> None:
    """Not even for one that goes on with a session of better days."""
    brief = authority.issue("brief", ends=timedelta(seconds=3))
    async with listening(server(own, trusted_ca_file=authority.ca, max_version=version)) as listener:
        context = ClientTls(client(authority, brief)).context()
        session, answer = await asyncio.to_thread(resume, listener.port, context, None)
        assert answer.startswith(b"HTTP/1.1 200")
        async with asyncio.timeout(10):
            while answer:
                _, answer = await asyncio.to_thread(resume, listener.port, context, session)
        await until(lambda: len(rejections) > 0)
        assert "certificate has expired" in str(rejections[0]["error"])


# What becomes of the files.


async def test_revoked_certificates_are_refused_as_soon_as_the_list_says_so(
    own: Issued, tmp_path: Path, rejections: list[dict[str, object]]
) -> None:
    authority = Authority(tmp_path)
    middle = Authority(tmp_path, "middle", parent=authority)
    first, second, third = authority.issue("first"), authority.issue("second"), middle.issue("third")
    authority.revoke(first)
    own = authority.issue("own", hosts=[HOST])
    settings = server(own, trusted_ca_file=authority.ca, crl_file=authority.crl)
    async with listening(settings) as listener:
        assert await is_refused(listener, client(authority, first))
        await until(lambda: len(rejections) == 1)
        assert rejections[0]["error"] == f"transport: certificate serial {first.told_serial} revoked"
        assert await ask(listener, client(authority, second)) == "second"
        assert await ask(listener, client(authority, third)) == "third"
        authority.revoke(second)
        assert await is_refused(listener, client(authority, second))
        write(authority.crl, b"broken")
        assert await is_refused(listener, client(authority, second))
        assert await ask(listener, client(authority, third)) == "third"
        authority.revoke(Issued("", "", middle.certificate.serial_number))
        assert await is_refused(listener, client(authority, third))


async def test_a_new_certificate_is_shown_without_a_restart(tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    shown = old.issue("server", hosts=[HOST])
    async with listening(server(shown)) as listener:
        kept = HttpClient(tls=ClientTls(client(old)), connect_timeout=5.0)
        url = f"https://{HOST}:{listener.port}/"
        assert (await kept.request("GET", url, timeout=5.0)).status == 200
        fresh = new.issue("server", hosts=[HOST])
        os.replace(fresh.key, shown.key)
        assert await ask(listener, client(old)) == ""  # the key does not fit yet: the old pair stays
        os.replace(fresh.cert, shown.cert)
        assert await ask(listener, client(new)) == ""
        assert await is_refused(listener, client(old))
        write(shown.cert, b"broken")
        assert await ask(listener, client(new)) == ""
        os.unlink(shown.cert)
        assert await ask(listener, client(new)) == ""
        assert (await kept.request("GET", url, timeout=5.0)).status == 200
        await kept.close()


async def test_a_new_authority_is_believed_without_a_restart(own: Issued, tmp_path: Path) -> None:
    old, new = Authority(tmp_path / "old"), Authority(tmp_path / "new")
    before, after = old.issue("before"), new.issue("after")
    shown = old.issue("server", hosts=[HOST])
    async with listening(server(shown, trusted_ca_file=old.ca)) as listener:
        caller = client(old, before)
        assert await ask(listener, caller) == "before"
        assert await is_refused(listener, client(old, after))
        write(old.ca, pem(old.certificate) + pem(new.certificate))
        assert await ask(listener, client(old, after)) == "after"
        assert await ask(listener, caller) == "before"
        write(old.ca, pem(new.certificate))
        assert await is_refused(listener, TlsSettings(cert_file=before.cert, key_file=before.key, trust_all=True))
        assert await ask(listener, TlsSettings(cert_file=after.cert, key_file=after.key, trust_all=True)) == "after"


async def test_a_caller_shows_its_new_certificate_in_the_next_connection(
    authority: Authority, own: Issued, tmp_path: Path
) -> None:
    shown = authority.issue("caller", cn="old")
    tls = ClientTls(client(authority, shown))
    async with listening(server(own, trusted_ca_file=authority.ca)) as listener:
        url = f"https://{HOST}:{listener.port}/"
        for cn in ("old", "new"):
            authority.issue("caller", cn=cn)
            http = HttpClient(tls=tls, connect_timeout=5.0)
            assert (await http.request("GET", url, timeout=5.0)).body.decode().strip() == cn
            await http.close()


async def test_files_that_cannot_be_used_are_an_error_at_the_start(
    authority: Authority, own: Issued, friend: Issued, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage"
    garbage.write_text("no certificate")
    for settings, text in (
        (TlsSettings(cert_file="nope", key_file=own.key), r"^open nope: no such file or directory$"),
        (TlsSettings(cert_file=own.cert, key_file="nope"), r"^open nope: no such file or directory$"),
        (TlsSettings(cert_file=own.cert), r"^KeyFile and CertFile must both be present\[key: , cert: "),
        (TlsSettings(cert_file=own.cert, key_file=friend.key), r"^tls: private key does not match public key"),
        (TlsSettings(cert_file=str(garbage), key_file=own.key), r"^tls: no certificate and key in"),
        (server(own, trusted_ca_file="nope"), r"^open nope: no such file or directory$"),
        (server(own, trusted_ca_file=str(garbage)), r"^tls: no certificates in"),
        (server(own, crl_file="nope"), r"^open nope: no such file or directory$"),
        (server(own, crl_file=str(garbage)), r"^tls: no list of revoked certificates in"),
        (server(own, client_cert_file=own.cert), r"^ClientKeyFile and ClientCertFile must both be present or both abs"),
        (server(own, allowed_cns=("a",), allowed_hostnames=("b",)), r"^AllowedCN and AllowedHostname are mutually ex"),
        (server(own, cipher_suites=("foo",)), r'^unexpected TLS cipher suite "foo"$'),
        (server(own, min_version="TLS1.1"), r'^unexpected TLS version "TLS1.1" \(must be one of: TLS1.2, TLS1.3\)$'),
    ):
        with pytest.raises(TlsError, match=text):
            ServerTls(settings)


# Versions and suites.


@pytest.mark.parametrize(
    ("settings", "offered", "agreed"),
    [
        ({}, {}, ("TLSv1.3", "TLS_AES_256_GCM_SHA384")),
        ({"max_version": "TLS1.2"}, {}, ("TLSv1.2", "ECDHE-ECDSA-AES256-GCM-SHA384")),
        (
            {"max_version": "TLS1.2", "cipher_suites": ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",)},
            {},
            ("TLSv1.2", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ),
        ({"min_version": "TLS1.3"}, {"max_version": "TLS1.2"}, None),
        (
            {"max_version": "TLS1.2", "cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)},
            {"cipher_suites": ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",)},
            None,
        ),
    ],
)
async def test_version_and_suite_are_those_of_the_settings(
    authority: Authority, own: Issued, settings: dict[str, object], offered: dict[str, object], agreed: object
) -> None:
    async with listening(server(own, **settings)) as listener:
        context = ClientTls(client(authority, **offered)).context()
        if agreed is None:
            with pytest.raises(ssl.SSLError):
                await asyncio.open_connection(HOST, listener.port, ssl=context)
            return
        _, writer = await asyncio.open_connection(HOST, listener.port, ssl=context)
        tls: ssl.SSLObject = writer.get_extra_info("ssl_object")
        name = (tls.cipher() or ("",))[0]
        assert (tls.version(), name) == agreed
        writer.transport.abort()


# Those that are slow, or speak something else.


async def test_who_is_slow_in_the_handshake_is_dropped_and_delays_nobody(
    authority: Authority, own: Issued, monkeypatch: pytest.MonkeyPatch, rejections: list[dict[str, object]]
) -> None:
    monkeypatch.setattr(acceptor, "HANDSHAKE_TIMEOUT", 1.0)
    async with listening(server(own)) as listener:
        silent = [await asyncio.open_connection(HOST, listener.port) for _ in range(100)]
        for _, writer in silent[50:]:
            writer.write(b"\x16\x03\x01\x02\x00\x01")  # the beginning of a ClientHello
        await until(lambda: listener.connections == 100)
        async with asyncio.timeout(0.9):
            assert await ask(listener, client(authority)) == ""
        for reader, writer in silent:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()
        await until(lambda: len(rejections) == 100)
        assert {told["error"] for told in rejections} == {"tls: handshake timed out"}
        assert listener.connections == 0


async def test_a_connection_may_last_longer_than_its_handshake(
    authority: Authority, own: Issued, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acceptor, "HANDSHAKE_TIMEOUT", 0.2)
    async with listening(server(own)) as listener:
        http = HttpClient(tls=ClientTls(client(authority)), connect_timeout=5.0)
        url = f"https://{HOST}:{listener.port}/"
        await http.request("GET", url, timeout=5.0)
        connection = next(iter(http._open))
        await asyncio.sleep(0.5)
        await http.request("GET", url, timeout=5.0)
        assert next(iter(http._open)) is connection
        await http.close()


async def test_plain_text_on_an_encrypted_port_is_dropped(
    authority: Authority, own: Issued, rejections: list[dict[str, object]]
) -> None:
    async with listening(server(own)) as listener:
        for said in (b"GET /health HTTP/1.1\r\nHost: h\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            reader, writer = await asyncio.open_connection(HOST, listener.port)
            writer.write(said)
            async with asyncio.timeout(5):
                with contextlib.suppress(ConnectionResetError):
                    assert b"HTTP/" not in await reader.read()
            writer.close()
        await until(lambda: len(rejections) == 2)
        assert {told["error"] for told in rejections} == {"tls: first record does not look like a TLS handshake"}
        assert await ask(listener, client(authority)) == ""


async def test_closing_the_listener_drops_handshakes(own: Issued) -> None:
    listener = await serve((HOST, 0), None, web, tls=ServerTls(server(own)))
    port = listener.port
    reader, writer = await asyncio.open_connection(HOST, port)
    await until(lambda: listener.connections == 1)
    listener.close()
    async with asyncio.timeout(5):
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
    writer.close()
    with pytest.raises(ConnectionError):
        await asyncio.open_connection(HOST, port)


# What services see.


async def test_a_call_knows_the_certificate_of_its_caller(authority: Authority, own: Issued, friend: Issued) -> None:
    service = Service()
    settings = server(own, trusted_ca_file=authority.ca)
    async with listening(settings, GrpcServer(service.methods())) as listener:
        channel = Channel(HOST, listener.port, ssl=ClientTls(client(authority, friend)).context())
        assert await channel.unary(PREFIX + "Echo", b"hi") == b"hi"
        certificate = service.contexts[0].extra("peercert")
        assert common_name(certificate) == "friend"
        assert int(certificate["serialNumber"], 16) == friend.serial
        assert json.dumps(certificate)
        stream = channel.stream(PREFIX + "Hang")
        await until(lambda: len(service.streams) == 1)
        assert common_name(service.streams[0].context.extra("peercert")) == "friend"
        stream.cancel()
        await channel.close()
