"""Leases and hashes asked of another member over HTTP: our two ends together, and each with etcd's."""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Iterator

import pytest
from peer_support import Answers, listening
from server_support import StartServer

from quorate.api import errors
from quorate.api.pb import lease_pb2
from quorate.api.pb import rpc_pb2 as rpc
from quorate.etcdhttp.peer_hash import handle_hash
from quorate.etcdhttp.peer_leases import MAX_BODY, handle_leases
from quorate.lease import TimeToLive
from quorate.server import Server, peer_calls
from quorate.testing.process import MemberProcess, free_port, real_binary
from quorate.transport.grpc import Channel
from quorate.transport.http1_client import HttpClient
from quorate.transport.web import HttpRequest, HttpResponse

SECONDS = 5.0


def answers_of(server: Server) -> Answers:
    async def answer(request: HttpRequest) -> HttpResponse:
        return await (handle_hash if request.path == peer_calls.HASH_PATH else handle_leases)(server, request)

    return answer


@pytest.fixture
async def client() -> AsyncIterator[HttpClient]:
    made = HttpClient(connect_timeout=SECONDS)
    yield made
    await made.close()


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemberProcess]:
    found = real_binary("etcd")
    if found is None:
        pytest.skip("needs real etcd")
    with MemberProcess(tmp_path_factory.mktemp("real") / "data", command=(str(found),)) as member:
        yield member


async def test_a_lease_is_renewed_and_asked_for_at_another_member(
    start_server: StartServer, client: HttpClient
) -> None:
    server = await start_server()
    for lease_id in (7, -7):
        await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=lease_id, TTL=60))
    await server.propose("put", rpc.PutRequest(key=b"k", lease=7))
    async with listening(answers_of(server)) as url:
        assert await peer_calls.renew(client, url, 7, SECONDS) == 60
        assert await peer_calls.renew(client, url, -7, SECONDS) == 60
        assert await peer_calls.time_to_live(client, url, 7, True, SECONDS) in (
            TimeToLive(59, 60, [b"k"]),
            TimeToLive(60, 60, [b"k"]),
        )
        assert (await peer_calls.time_to_live(client, url, 7, False, SECONDS)).keys == []
        for ask in (peer_calls.renew(client, url, 8, SECONDS), peer_calls.time_to_live(client, url, 8, True, SECONDS)):
            with pytest.raises(errors.LeaseNotFound):
                await ask


async def test_many_leases_are_renewed_in_one_request(start_server: StartServer, client: HttpClient) -> None:
    server = await start_server()
    for lease_id in (7, -7, 9):
        await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=lease_id, TTL=60))
    await server.propose(
        "lease_checkpoint", rpc.LeaseCheckpointRequest(checkpoints=[rpc.LeaseCheckpoint(ID=9, remaining_TTL=5)])
    )
    async with listening(answers_of(server)) as url:
        # Renewing lease 9 takes an entry in the log, and the others need not wait for that.
        ttls = await peer_calls.renew_all(client, url, [8, 7, -7, 9, 7], SECONDS)
        assert ttls == [0, 60, 60, peer_calls.ALONE, 60]
        assert await peer_calls.renew_all(client, url, [9, 7], SECONDS) == [peer_calls.ALONE, 60]
        assert await peer_calls.renew(client, url, 9, SECONDS) == 60
        assert await peer_calls.renew_all(client, url, [9, 7], SECONDS) == [60, 60]
        assert await peer_calls.renew_all(client, url, [7], SECONDS) == [60]
        assert await peer_calls.renew_all(client, url, [8], SECONDS) == [0]


async def test_a_member_that_does_not_lead_renews_nothing_for_others(
    start_server: StartServer, client: HttpClient
) -> None:
    server = await start_server()
    await server.propose("lease_grant", rpc.LeaseGrantRequest(ID=7, TTL=60))
    server.leadership.led_by(99)
    async with listening(answers_of(server)) as url:
        with pytest.raises(peer_calls.PeerCallError, match="status 400: not a primary lessor"):
            await peer_calls.renew(client, url, 7, SECONDS)
        with pytest.raises(peer_calls.PeerCallError, match="status 500: not a primary lessor"):
            await peer_calls.time_to_live(client, url, 7, True, SECONDS)


async def test_what_is_no_answer_is_neither_yes_nor_no(client: HttpClient) -> None:
    given = HttpResponse()

    async def answer(request: HttpRequest) -> HttpResponse:
        return given

    async with listening(answer) as url:
        other_lease = b"\x10\x63\x18\x64"
        for status, body in ((200, b"\xff"), (200, other_lease), (404, b"404 page not found\n"), (503, b"later")):
            given = HttpResponse(status, (), body)
            with pytest.raises(peer_calls.PeerCallError):
                await peer_calls.renew(client, url, 7, SECONDS)
            with pytest.raises(peer_calls.PeerCallError):
                await peer_calls.time_to_live(client, url, 7, True, SECONDS)
            with pytest.raises(peer_calls.PeerCallError):
                await peer_calls.hash_kv(client, [url], 1, 0, SECONDS)
    with pytest.raises(peer_calls.PeerCallError):
        await peer_calls.renew(client, f"http://127.0.0.1:{free_port()}", 7, SECONDS)


async def test_a_hash_is_asked_of_the_first_url_that_answers(start_server: StartServer, client: HttpClient) -> None:
    server = await start_server()
    for number in range(5):
        await server.propose("put", rpc.PutRequest(key=b"k%d" % number))
    async with listening(answers_of(server)) as url:
        urls = [f"http://127.0.0.1:{free_port()}", url]
        found, revision = await peer_calls.hash_kv(client, urls, server.cluster_id, 3, SECONDS)
        assert (found, revision) == (await server.hash_kv(3), 6)
        assert found.compact_revision == -1
        with pytest.raises(errors.FutureRevision):
            await peer_calls.hash_kv(client, urls, server.cluster_id, 7, SECONDS)
        with pytest.raises(errors.ClusterIdMismatch):
            await peer_calls.hash_kv(client, urls, 1, 3, SECONDS)
        await server.propose("compaction", rpc.CompactionRequest(revision=5))
        with pytest.raises(errors.Compacted):
            await peer_calls.hash_kv(client, urls, server.cluster_id, 3, SECONDS)
    with pytest.raises(peer_calls.PeerCallError):
        await peer_calls.hash_kv(client, [], server.cluster_id, 3, SECONDS)


def ask(url: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    host, port = url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=SECONDS)
    try:
        connection.request(method, path, body, headers)
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


UNKNOWN = rpc.LeaseKeepAliveRequest(ID=8).SerializeToString()
UNKNOWN_INTERNAL = lease_pb2.LeaseInternalRequest(
    LeaseTimeToLiveRequest=rpc.LeaseTimeToLiveRequest(ID=8)
).SerializeToString()
REFUSED = [
    ("GET", "/leases", b"", {}, 405, b"Method Not Allowed\n"),
    ("GET", "/leases/internal", b"", {}, 405, b"Method Not Allowed\n"),
    ("POST", "/leases", b"\xff", {}, 400, b"error unmarshalling request\n"),
    ("POST", "/leases/internal", b"\xff", {}, 400, b"error unmarshalling request\n"),
    ("POST", "/leases", UNKNOWN, {}, 404, b"lease not found\n"),
    ("POST", "/leases/internal", UNKNOWN_INTERNAL, {}, 404, b"lease not found\n"),
    ("GET", "/members/hashkv", b"", {}, 400, b"error unmarshalling request\n"),
    ("GET", "/members/hashkv", b"[1]", {}, 400, b"error unmarshalling request\n"),
    ("GET", "/members/hashkv", b'{"revision":"1"}', {}, 400, b"error unmarshalling request\n"),
    ("GET", "/members/hashkv", b'{"revision":1.5}', {}, 400, b"error unmarshalling request\n"),
    ("GET", "/members/hashkv", b'{"revision":9223372036854775808}', {}, 400, b"error unmarshalling request\n"),
    (
        "GET",
        "/members/hashkv",
        b'{"revision":1000}',
        {},
        400,
        b"mvcc: required revision is a future revision\n",
    ),
    ("POST", "/members/hashkv", b"{}", {}, 405, b"Method Not Allowed\n"),
]
EMPTY_HASH = b'{"header":{"revision":1},"hash":1084519789,"compact_revision":-1,"hash_revision":1}'
EMPTY_HASH_OF_3_5 = b'{"header":{"revision":1},"hash":1084519789,"compact_revision":-1}'
HASHED = [b"{}", b"null", b'{"revision":0}', b'{"REVISION":null,"more":[{}]}', b'{"revision":1}']


async def test_refusals_have_the_status_and_text_of_etcd(start_server: StartServer) -> None:
    async with listening(answers_of(await start_server())) as url:
        for method, path, body, headers, status, text in REFUSED:
            assert await asyncio.to_thread(ask, url, method, path, body, headers) == (status, text), (
                method,
                path,
                body,
            )
        too_long = await asyncio.to_thread(ask, url, "POST", "/leases", bytes(MAX_BODY + 1), {})
        assert too_long == (413, b"request body too large\n")
        mismatch = await asyncio.to_thread(ask, url, "GET", "/members/hashkv", b"{}", {"X-Etcd-Cluster-ID": "1"})
        assert mismatch == (412, b"cluster ID mismatch\n")


async def test_an_empty_store_hashes_as_etcd_says(start_server: StartServer) -> None:
    async with listening(answers_of(await start_server())) as url:
        for body in HASHED:
            assert await asyncio.to_thread(ask, url, "GET", "/members/hashkv", body, {}) == (200, EMPTY_HASH)


@pytest.mark.real
def test_real_etcd_refuses_in_the_same_words(etcd: MemberProcess) -> None:
    for method, path, body, headers, status, text in REFUSED:
        assert ask(etcd.peer_url, method, path, body, headers) == (status, text), (method, path, body)
    hashed = [ask(etcd.peer_url, "GET", "/members/hashkv", body, {}) for body in HASHED]
    assert hashed == [(200, EMPTY_HASH_OF_3_5)] * len(HASHED)


@pytest.mark.real
async def test_real_etcd_renews_and_hashes_for_us(etcd: MemberProcess, client: HttpClient) -> None:
    channel = Channel("127.0.0.1", etcd.client_port)
    grant, put = rpc.LeaseGrantRequest(ID=77, TTL=60), rpc.PutRequest(key=b"k", lease=77)
    await channel.unary("/etcdserverpb.Lease/LeaseGrant", grant.SerializeToString())
    await channel.unary("/etcdserverpb.KV/Put", put.SerializeToString())
    told = rpc.HashKVResponse.FromString(await channel.unary("/etcdserverpb.Maintenance/HashKV", b""))
    await channel.close()
    url = etcd.peer_url
    assert await peer_calls.renew(client, url, 77, SECONDS) == 60
    assert await peer_calls.renew_all(client, url, [77], SECONDS) == [60]
    assert await peer_calls.renew_all(client, url, [77, 8, 77], SECONDS) == [60, None, None]
    assert await peer_calls.renew_all(client, url, [8, 77], SECONDS) == [0, None]
    found = await peer_calls.time_to_live(client, url, 77, True, SECONDS)
    assert (found.granted_ttl, found.keys) == (60, [b"k"]) and found.ttl in (59, 60)
    hashed, revision = await peer_calls.hash_kv(client, [url], told.header.cluster_id, 0, SECONDS)
    assert (hashed.hash, hashed.compact_revision, revision) == (told.hash, -1, told.header.revision)
    for ask_for in (
        peer_calls.renew(client, url, 8, SECONDS),
        peer_calls.time_to_live(client, url, 8, True, SECONDS),
    ):
        with pytest.raises(errors.LeaseNotFound):
            await ask_for
    with pytest.raises(errors.FutureRevision):
        await peer_calls.hash_kv(client, [url], told.header.cluster_id, 1000, SECONDS)
