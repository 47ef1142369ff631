"""The fixtures, used by whole pytest sessions in processes of their own, as a program's tests use them."""

from __future__ import annotations

import importlib.util
import os
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from quorate import embed
from quorate.client import sync
from quorate.testing.process import MemberProcess, real_binary

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ("-p", "quorate.testing.plugin", "-p", "no:cacheprovider", "-W", "error")
ASYNCIO = ("-p", "pytest_asyncio.plugin", "-o", "asyncio_default_fixture_loop_scope=function")


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A directory for an inner session, which loads the plugins that it names, whatever is installed here."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for name in ("PYTEST_ADDOPTS", "QUORATE_TEST_ENDPOINTS", "QUORATE_TEST_MAY_WIPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    return pytester


def run(inner: pytest.Pytester, *more: str) -> pytest.RunResult:
    return inner.runpytest_subprocess(*PLUGINS, *more, timeout=150)


def installed(name: str) -> None:
    if importlib.util.find_spec(name) is None:
        pytest.skip(f"{name} is not installed")


def test_pytest_finds_the_plugin_by_its_entry_point() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert import_module(project["entry-points"]["pytest11"]["quorate"]).etcd


def test_a_test_finds_nothing_of_the_one_before(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import pytest
        from quorate.client import EtcdError, Compacted

        seen = []

        @pytest.mark.parametrize("turn", range(3))
        def test_isolation(etcd, etcd_client, turn, caplog):
            seen.append(tuple(etcd.endpoints))
            c = etcd_client
            assert c.get("", prefix=True).count == 0
            assert c.leases() == [] and c.auth.users() == [] and c.auth.roles() == []
            before = c.get("x").header.revision
            if turn:
                assert before > 1
                with pytest.raises(Compacted):
                    c.get("k0", revision=before - 1)
            for number in range(20):
                c.put(f"k{number}", "v", lease=c.grant(60).id)
            c.auth.user_add("u", "p")
            c.auth.role_add("r")
            assert caplog.records == []

        def test_one_server_for_all():
            assert len(seen) == 3 and len(set(seen)) == 1

        def test_reset_within_a_test(etcd, etcd_client):
            etcd_client.put("k", "v")
            etcd.reset()
            assert etcd_client.get("k").value is None
            etcd.reset(fresh=True)
            assert tuple(etcd.endpoints) == seen[0]
            assert etcd_client.get("k").header.revision == 1
    """)
    run(inner).assert_outcomes(passed=5)


def test_what_no_request_undoes_does_not_reach_the_next_test(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import pytest

        @pytest.mark.parametrize("turn", range(2))
        def test_auth(etcd_client, turn):
            auth = etcd_client.auth
            assert not auth.status().enabled
            auth.user_add("root", "nobody else knows")
            auth.role_add("root")
            auth.user_grant_role("root", "root")
            auth.enable()

        @pytest.mark.parametrize("turn", range(2))
        def test_members(etcd_client, turn):
            assert len(etcd_client.cluster.members().members) == 1
            etcd_client.cluster.add(["http://127.0.0.1:1"])

        def test_after(etcd_client):
            etcd_client.put("k", "v")
    """)
    run(inner).assert_outcomes(passed=5)


def test_who_asks_for_no_etcd_pays_nothing(inner: pytest.Pytester) -> None:
    inner.makepyfile("""
        import sys, threading

        def test_nothing():
            assert not {"quorate.client", "quorate.embed", "asyncio.unix_events"} & (set(sys.modules) - WITHOUT)
            assert threading.active_count() == 1

        WITHOUT = {"asyncio.unix_events"}
    """)
    result = run(inner)
    result.assert_outcomes(passed=1)
    assert "quorate" not in result.stdout.str().replace("quorate.testing.plugin", "")


def test_the_async_client_lives_on_the_loop_of_its_test(inner: pytest.Pytester) -> None:
    installed("pytest_asyncio")
    inner.makepyfile("""
        import pytest, pytest_asyncio

        @pytest_asyncio.fixture
        async def service(etcd_async_client):
            await etcd_async_client.put("service", "up")
            yield
            await etcd_async_client.delete("service")

        @pytest.mark.asyncio
        async def test_function_loop(etcd_async_client, etcd_client):
            async with etcd_async_client.watch("k") as watch:
                await etcd_async_client.put("k", "v")
                assert (await anext(watch)).value == b"v"

        @pytest.mark.asyncio
        async def test_with_a_fixture(service, etcd_async_client):
            assert (await etcd_async_client.get("service")).value == b"up"
            assert (await etcd_async_client.get("k")).value is None

        @pytest.mark.asyncio(loop_scope="session")
        async def test_session_loop(etcd_async_client):
            await etcd_async_client.put("k", "v")

        @pytest.mark.asyncio
        async def test_not_used(etcd_async_client):
            pass
    """)
    run(inner, *ASYNCIO).assert_outcomes(passed=4)


def test_the_async_client_works_in_auto_mode(inner: pytest.Pytester) -> None:
    installed("pytest_asyncio")
    inner.makepyfile("""
        async def test_put(etcd_async_client):
            await etcd_async_client.put("k", "v")
    """)
    run(inner, *ASYNCIO, "-o", "asyncio_mode=auto").assert_outcomes(passed=1)


def test_the_async_client_works_with_anyio(inner: pytest.Pytester) -> None:
    installed("anyio")
    inner.makepyfile("""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.fixture
        async def service(etcd_async_client):
            await etcd_async_client.put("service", "up")
            yield
            await etcd_async_client.delete("service")

        @pytest.mark.anyio
        async def test_put(etcd_async_client, service):
            assert (await etcd_async_client.get("service")).value == b"up"

        @pytest.mark.anyio
        async def test_get(etcd_async_client):
            assert (await etcd_async_client.get("service")).value is None
    """)
    run(inner, "-p", "anyio.pytest_plugin").assert_outcomes(passed=2)


def test_workers_have_a_server_each(inner: pytest.Pytester) -> None:
    installed("xdist")
    inner.makepyfile("""
        import pytest

        @pytest.mark.parametrize("turn", range(20))
        def test_alone(etcd_client, turn):
            assert etcd_client.get("", prefix=True).count == 0
            etcd_client.put("k", f"{turn}")
            assert etcd_client.get("k").value == f"{turn}".encode()
    """)
    run(inner, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=20)


EXISTING = """
    import os, pytest

    def test_endpoints(etcd):
        assert etcd.endpoints == [os.environ["EXPECTED"]]
        assert etcd.client_urls == ["http://" + os.environ["EXPECTED"]]

    @pytest.mark.parametrize("turn", range(6))
    def test_alone(etcd_client, turn):
        assert etcd_client.get("", prefix=True).count == 0
        assert etcd_client.auth.users() == []
        etcd_client.put("k", f"{turn}", lease=etcd_client.grant(60).id)
        etcd_client.auth.user_add("u", "p")
        for _ in range(5):
            assert etcd_client.get("k").value == f"{turn}".encode()
"""


def test_a_server_that_exists_is_emptied_only_by_leave(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    inner.makepyfile(EXISTING)
    with embed.start(in_memory=True) as server, sync.connect(server.endpoints) as client:
        client.put("precious", "v")
        monkeypatch.setenv("EXPECTED", server.endpoints[0])
        refused = run(inner, "--etcd-endpoints", server.endpoints[0])
        refused.assert_outcomes(errors=7)
        refused.stdout.fnmatch_lines(["*would delete all that is stored at*--etcd-may-wipe*"])
        assert client.get("precious").value == b"v"
        run(inner, "--etcd-endpoints", server.endpoints[0], "--etcd-may-wipe").assert_outcomes(passed=7)
        assert client.get("precious").value is None


def test_workers_take_turns_on_a_server_that_exists(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("xdist")
    inner.makepyfile(EXISTING)
    with embed.start(in_memory=True) as server:
        monkeypatch.setenv("EXPECTED", server.endpoints[0])
        monkeypatch.setenv("QUORATE_TEST_ENDPOINTS", server.endpoints[0])
        monkeypatch.setenv("QUORATE_TEST_MAY_WIPE", "1")
        run(inner, "-p", "xdist.plugin", "-n", "2").assert_outcomes(passed=7)


@pytest.mark.real
def test_the_server_may_be_a_real_etcd(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    binary = real_binary("etcd")
    if binary is None:
        pytest.skip("no real etcd here")
    inner.makepyfile(EXISTING)
    with MemberProcess(tmp_path / "data", command=(str(binary),)) as member:
        monkeypatch.setenv("EXPECTED", member.endpoint)
        run(inner, "--etcd-endpoints", member.client_url, "--etcd-may-wipe").assert_outcomes(passed=7)


def test_a_server_with_auth_is_refused_with_the_reason(inner: pytest.Pytester) -> None:
    inner.makepyfile("def test_put(etcd_client): etcd_client.put('k', 'v')")
    with embed.start(in_memory=True) as server, sync.connect(server.endpoints) as client:
        client.auth.user_add("root", "p")
        client.auth.role_add("root")
        client.auth.user_grant_role("root", "root")
        client.auth.enable()
        result = run(inner, "--etcd-endpoints", server.endpoints[0], "--etcd-may-wipe")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*ResetFailed: cannot empty http://*user name is empty*"])
