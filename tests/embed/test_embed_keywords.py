"""A member in a program's own process, by keywords."""

import asyncio
import json
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from embed_support import channel_to, get, members, memory_directories, put, sockets

from quorate import embed
from quorate.storage.backend import BackendInUse


async def test_a_member_listens_at_free_ports_and_advertises_them(tmp_path: Path) -> None:
    async with embed.Etcd(data_dir=tmp_path / "db") as one, embed.Etcd(data_dir=tmp_path / "other") as other:
        assert one.client_urls == [f"http://{one.endpoints[0]}"]
        assert len({*one.client_urls, *one.peer_urls, *other.client_urls, *other.peer_urls}) == 4
        for etcd in (one, other):
            channel = channel_to(etcd.endpoints[0])
            await put(channel, b"k", etcd.endpoints[0].encode())
            [member] = await members(channel)
            assert (list(member.clientURLs), list(member.peerURLs)) == (etcd.client_urls, etcd.peer_urls)
            assert await get(channel, b"k") == etcd.endpoints[0].encode()
            await channel.close()
    assert not one.is_running and one.server is None


async def test_data_is_found_again_and_the_new_peer_port_is_told(tmp_path: Path) -> None:
    urls = []
    for number in range(3):
        async with embed.Etcd(data_dir=tmp_path) as etcd:
            channel = etcd.channel()
            assert await get(channel, b"k") == (b"%d" % (number - 1) if number else None)
            await put(channel, b"k", b"%d" % number)
            [member] = await members(channel)
            assert list(member.peerURLs) == etcd.peer_urls
            urls += etcd.peer_urls
            await channel.close()
    assert len(set(urls)) > 1


async def test_one_object_starts_again_at_its_ports(tmp_path: Path) -> None:
    etcd = embed.Etcd(data_dir=tmp_path)
    channel = etcd.channel()
    seen = set()
    for number in range(3):
        async with etcd:
            assert await put(channel, b"k", b"v") == 2 + number
            seen.add((*etcd.client_urls, *etcd.peer_urls))
            with pytest.raises(RuntimeError, match="runs already"):
                await etcd.start()
        await etcd.stop()
    assert len(seen) == 1
    await channel.close()


async def test_without_listeners_there_is_no_socket_and_the_channel_works() -> None:
    before = sockets()
    async with embed.Etcd(listen=False, in_memory=True) as etcd:
        assert sockets() == before
        assert (etcd.client_urls, etcd.endpoints, etcd.peer_urls) == ([], [], [])
        channel = etcd.channel()
        await put(channel, b"k", b"v")
        assert await get(channel, b"k") == b"v"
        await channel.close()


async def test_data_in_memory_ends_with_the_member() -> None:
    before = memory_directories()
    etcd = embed.Etcd(in_memory=True)
    async with etcd:
        [directory] = memory_directories() - before
        assert Path(etcd.config.data_dir).parent == directory
        assert sum(file.stat().st_blocks * 512 for file in directory.rglob("*") if file.is_file()) < 4_000_000
        channel = etcd.channel()
        await put(channel, b"k", b"v")
    assert not directory.exists()
    async with etcd:
        assert await get(channel, b"k") is None
        await channel.close()
    assert memory_directories() == before


async def test_an_aborted_member_keeps_what_it_promised(tmp_path: Path) -> None:
    etcd = embed.Etcd(data_dir=tmp_path)
    await etcd.start()
    channel = etcd.channel()
    await put(channel, b"k", b"v")
    await etcd.abort()
    await etcd.start()
    assert await get(channel, b"k") == b"v"
    await channel.close()
    await etcd.stop()


def test_what_a_killed_process_left_in_memory_is_removed_and_what_lives_is_not() -> None:
    script = (
        "import os, sys; from quorate import embed; e = embed.start(in_memory=True, listen=False)\n"
        "print(e.etcd.config.data_dir, flush=True); sys.stdin.read(); os.kill(os.getpid(), 9)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    left = Path(child.stdout.readline().strip()).parent
    with embed.start(in_memory=True, listen=False):
        assert left.exists()
    child.communicate()
    with embed.start(in_memory=True, listen=False):
        assert not left.exists()


def test_a_program_that_forgets_to_stop_leaves_nothing_and_ends() -> None:
    script = "from quorate import embed; e = embed.start(in_memory=True); print(e.etcd.config.data_dir)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stderr == ""
    assert not Path(done.stdout.strip()).parent.exists()


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"in_memory": True, "data_dir": "x"}, "in_memory=True and data_dir='x' exclude each other"),
        ({"in_memory": True, "wal_dir": "x"}, "in_memory=True and wal_dir='x' exclude each other"),
        ({"listen": False, "listen_client_urls": ["http://127.0.0.1:1"]}, "listen=False and listen_client_urls="),
        ({"listen": False, "initial_cluster": "a=http://127.0.0.1:1"}, "listen=False and initial_cluster="),
    ],
)
def test_settings_that_exclude_each_other_are_refused(keywords: dict[str, object], words: str) -> None:
    with pytest.raises(embed.ConfigError, match=words):
        embed.Etcd(**keywords)  # type: ignore[arg-type]


def test_an_unknown_setting_is_refused() -> None:
    with pytest.raises(TypeError, match="quota"):
        embed.Etcd(quota=1)
    with pytest.raises(TypeError, match="not as both"):
        embed.Etcd(embed.Config(), listen=False)


async def test_every_field_of_the_config_may_be_said(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        peer = f"http://127.0.0.1:{probe.getsockname()[1]}"
    settings = {"heartbeat_interval": 50, "election_timeout": 500, "listen_peer_urls": [peer]}
    async with embed.Etcd(data_dir=tmp_path, name="n", **settings) as etcd:  # type: ignore[arg-type]
        assert etcd.peer_urls == [peer]
        assert etcd.server is not None and etcd.server.config.heartbeat_interval == 0.05
        assert etcd.server.config.name == "n"


async def test_port_zero_is_settled_in_a_config_too(tmp_path: Path) -> None:
    config = embed.Config(
        data_dir=str(tmp_path),
        listen_client_urls=["http://127.0.0.1:0", "http://[::1]:0"],
        advertise_client_urls=["http://127.0.0.1:0"],
        listen_client_http_urls=["http://127.0.0.1:0"],
        listen_peer_urls=["http://127.0.0.1:0"],
        initial_advertise_peer_urls=["http://127.0.0.1:0"],
    )
    async with embed.Etcd(config) as etcd:
        assert not [url for url in etcd.client_urls + etcd.peer_urls if url.endswith(":0")]
        assert etcd.config.listen_client_urls[1].startswith("http://[::1]:")
        url = etcd.config.listen_client_http_urls[0] + "/version"
        answer = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())
        assert json.loads(answer)["etcdserver"]
        channel = channel_to(etcd.endpoints[0])
        await put(channel, b"k", b"v")
        await channel.close()


async def test_an_advertised_port_zero_needs_a_listener(tmp_path: Path) -> None:
    etcd = embed.Etcd(
        data_dir=tmp_path,
        listen_client_urls=["http://127.0.0.1:0"],
        advertise_client_urls=["http://127.0.0.1:0", "http://127.0.0.1:0"],
    )
    before = sockets()
    with pytest.raises(embed.ConfigError, match="advertise_client_urls: nothing listens for"):
        await etcd.start()
    assert sockets() == before and not etcd.is_running


async def test_a_certificate_makes_free_ports_encrypted(tmp_path: Path) -> None:
    async with embed.Etcd(data_dir=tmp_path, auto_tls=True, peer_auto_tls=True) as etcd:
        assert etcd.client_urls[0].startswith("https://127.0.0.1:")
        assert etcd.peer_urls[0].startswith("https://127.0.0.1:")
        channel = etcd.channel()
        await put(channel, b"k", b"v")
        await channel.close()


async def test_two_members_do_not_share_a_directory(tmp_path: Path) -> None:
    async with embed.Etcd(data_dir=tmp_path) as one:
        other = embed.Etcd(data_dir=tmp_path)
        before = sockets()
        with pytest.raises(BackendInUse):
            await other.start()
        assert sockets() == before and not other.is_running
        channel = one.channel()
        await put(channel, b"k", b"v")
        await channel.close()


def test_nothing_is_written_to_stderr_unless_the_program_says_so() -> None:
    script = (
        "import sys, logging; from quorate import embed\n"
        "if sys.argv[1:]: logging.basicConfig(level=logging.INFO)\n"
        "with embed.start(in_memory=True): pass"
    )
    quiet, told = (
        subprocess.run([sys.executable, "-c", script, *more], capture_output=True, text=True, timeout=60, check=True)
        for more in ([], ["loud"])
    )
    assert quiet.stderr == quiet.stdout == ""
    assert "ready to serve client requests" in told.stderr and "fsync is off" in told.stderr
