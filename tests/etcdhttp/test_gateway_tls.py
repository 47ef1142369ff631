"""The gateway on a TLS port, where web clients speak HTTP/2 beside gRPC."""

from __future__ import annotations

import asyncio
import base64
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from gateway_support import PATIENCE, Web, b64, until

from quorate.etcdhttp import ClientHandler, Gateway, Metrics, streamed_paths
from quorate.transport.grpc import GrpcServer
from quorate.transport.mux import serve
from quorate.transport.tls import ServerTls, TlsSettings
from quorate.v3rpc import build_methods

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None or shutil.which("openssl") is None, reason="no curl, or no openssl")


@pytest.fixture
def tls(tmp_path: Path) -> ServerTls:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost"
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    subprocess.run([*shlex.split(command), *files], check=True, capture_output=True)
    return ServerTls(TlsSettings(cert_file=str(tmp_path / "cert"), key_file=str(tmp_path / "key")))


async def curl(port: int, version: str, path: str, body: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(str(CURL), "-sNk", version, "-w", r"\n%{http_version} %{http_code}", "-d", body),
        f"https://127.0.0.1:{port}{path}",
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 24,  # a line is an event
    )


@pytest.mark.parametrize(("version", "spoken"), [("--http2", "2"), ("--http1.1", "1.1")])
async def test_calls_and_streams_run_over_tls_on_either_http(
    web: Web, tls: ServerTls, version: str, spoken: str
) -> None:
    assert web.member.server is not None
    methods = build_methods(web.member.server)
    grpc = GrpcServer(methods)
    handler = ClientHandler(
        web.member.server, Metrics(web.member.server, grpc.tallies), Gateway(methods, grpc.tallies, 1 << 21)
    )
    listener = await serve(("127.0.0.1", 0), grpc, handler, tls=tls, streamed=streamed_paths(methods))
    try:
        before = len(asyncio.all_tasks())
        asked = await curl(listener.port, version, "/v3/kv/put", json.dumps({"key": b64(b"a"), "value": b64(b"1")}))
        told, _ = await asyncio.wait_for(asked.communicate(), PATIENCE)
        body, _, end = told.decode().rpartition("\n")
        assert (end, json.loads(body)["header"]["revision"]) == (f"{spoken} 200", "2")

        asked = await curl(listener.port, version, "/v3/kv/range", "{bad json")
        told, _ = await asyncio.wait_for(asked.communicate(), PATIENCE)
        assert told.decode().endswith(f"{spoken} 400")

        watch = {"create_request": {"key": b64(b"big"), "start_revision": "1"}}
        asked = await curl(listener.port, version, "/v3/watch", json.dumps(watch))
        assert asked.stdout is not None
        first = await asyncio.wait_for(asked.stdout.readline(), PATIENCE)
        assert json.loads(first)["result"]["created"]
        value = b64(b"x" * 1_000_000)
        for _ in range(8):
            assert (await web.ask("/v3/kv/put", {"key": b64(b"big"), "value": value}))[0] == 200
        seen: list[str] = []
        while len(seen) < 8:
            line = json.loads(await asyncio.wait_for(asked.stdout.readline(), PATIENCE))
            seen += [event["kv"]["version"] for event in line["result"]["events"]]
            assert all(len(base64.b64decode(event["kv"]["value"])) == 1_000_000 for event in line["result"]["events"])
        assert seen == [str(number) for number in range(1, 9)]
        asked.kill()
        await asked.wait()
        await until(lambda: len(asyncio.all_tasks()) <= before)
    finally:
        listener.close()
