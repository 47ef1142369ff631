"""Leaders, certificates and passwords: how the load finds its way in."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest

from quorate.api.pb import rpc_pb2 as pb
from quorate.cmd.benchmark.main import run
from quorate.testing.certificates import Authority
from quorate.testing.cluster import Cluster
from quorate.testing.process import QUORATE


def served(cluster: Cluster, number: int) -> float:
    """Puts that came in by this member's port."""
    import urllib.request

    url = f"http://{cluster.members[number].endpoint}/metrics"
    text = urllib.request.urlopen(url, timeout=5).read().decode()
    lines = [line for line in text.splitlines() if line.startswith("grpc_server_started_total") and '"Put"' in line]
    return float(lines[0].rpartition(" ")[2]) if lines else 0.0


def test_the_leader_is_found_by_any_endpoint_and_all_are_used_without_asking_for_it(tmp_path: Path) -> None:
    with Cluster(tmp_path, [QUORATE] * 3) as cluster:
        cluster.start()
        leader, first, second = cluster.leader(), *cluster.followers()
        everyone = ",".join(cluster.members[number].endpoint for number in (first, second, leader))
        assert run([f"--endpoints={everyone}", "--target-leader", "--conns=3", "--clients=3", "put", "--total=30"]) == 0
        assert [served(cluster, number) for number in (leader, first, second)] == [30, 0, 0]
        assert run([f"--endpoints={everyone}", "--conns=3", "--clients=3", "put", "--total=30"]) == 0
        spread = [served(cluster, number) for number in (leader, first, second)]
        assert sum(spread) == 60 and all(spread[1:])


def test_certificates_are_shown_and_looked_at(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path / "ca")
    own = authority.issue("member", hosts=["127.0.0.1"])
    context = ssl.create_default_context(cafile=authority.ca)
    context.load_cert_chain(own.cert, own.key)
    flags = [
        f"--cert-file={own.cert}",
        f"--key-file={own.key}",
        f"--trusted-ca-file={authority.ca}",
        "--client-cert-auth",
    ]
    with Cluster(tmp_path / "data", [QUORATE], flags=flags, ssl=context) as cluster:
        cluster.start()
        url = cluster.members[0].client_url
        shown = [f"--cacert={authority.ca}", f"--cert={own.cert}", f"--key={own.key}", "--dial-timeout=5s"]
        line = [f"--endpoints={url}", "--json", "--conns=2", "--clients=4", "put", "--total=20"]
        assert run([*shown, *line]) == 0
        assert json.loads(capfd.readouterr().out)["sections"][0]["requests"] == 20
        stranger = Authority(tmp_path / "other")
        assert run([f"--cacert={stranger.ca}", "--dial-timeout=5s", *line]) == 1
        assert "dial error: " in capfd.readouterr().err
        assert run(["--insecure-skip-tls-verify", *shown[1:], *line]) == 0


def test_a_user_is_logged_in_once_and_the_token_is_sent_with_every_call(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with Cluster(tmp_path, [QUORATE]) as cluster:
        cluster.start()
        for request in (
            pb.AuthUserAddRequest(name="root", password="secret"),
            pb.AuthRoleAddRequest(name="root"),
            pb.AuthUserGrantRoleRequest(user="root", role="root"),
            pb.AuthEnableRequest(),
        ):
            cluster.ask(0, request)
        line = [f"--endpoints={cluster.members[0].endpoint}", "--json", "put", "--total=5"]
        assert run([*line, "--user=root:secret"]) == 0
        assert json.loads(capfd.readouterr().out)["sections"][0]["requests"] == 5
        assert run([*line, "--user=root:wrong"]) == 1
        assert "authentication failed" in capfd.readouterr().err
