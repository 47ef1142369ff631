"""What deploy/ holds is run, or read by who reads it: containers, systemd, runners of Procfiles."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from quorate.cmd.flags import build_flags
from quorate.pkg.goflag import variable_name
from quorate.testing.process import QUORATE, MemberProcess, free_port, real_binary

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
PROCFILE = DEPLOY / "Procfile"
UNIT = DEPLOY / "systemd" / "etcd.service"
VARIABLES = DEPLOY / "systemd" / "etcd.env"
SECONDS = 60.0


def procfile() -> dict[str, list[str]]:
    """Words of each command by its name."""
    lines = [line for line in PROCFILE.read_text().splitlines() if line and line[0] != "#"]
    return {name: shlex.split(command) for name, _, command in (line.partition(":") for line in lines)}


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return made


def dockerfile(instruction: str) -> list[str]:
    """Arguments of each such instruction, lines that go on joined."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^{instruction} +(.*)$", text, re.MULTILINE)


def command_lines() -> Iterator[tuple[str, list[str]]]:
    for name, words in procfile().items():
        yield f"Procfile {name}", words
    for name, service in compose()["services"].items():
        yield f"compose.yaml {name}", service["command"]
    for arguments in dockerfile("CMD"):
        yield "Dockerfile", json.loads(arguments)


def shown_lines() -> Iterator[tuple[str, list[str]]]:
    """Command lines of members that pages for operators show; an ellipsis stands for more of the same."""
    for page in sorted((ROOT / "docs" / "operations").glob("*.md")):
        text = re.sub(r"\\\n *", "", page.read_text())
        for number, line in enumerate(
            re.findall(r"^ {4,}(?:docker run .* /usr/local/bin/)?etcd (--[^#\n]*)", text, re.MULTILINE)
        ):
            yield f"{page.name} {number}", [word for word in shlex.split(line) if word not in ("...", "…")]


def variables() -> dict[str, str]:
    lines = VARIABLES.read_text().splitlines()
    lines += [line.removeprefix("Environment=") for line in UNIT.read_text().splitlines() if "Environment=" in line]
    pairs = [line.partition("=")[::2] for line in lines if line and line[0] != "#"]
    return dict(reversed(pairs))


@pytest.mark.parametrize(("place", "words"), list(command_lines()), ids=[place for place, _ in command_lines()])
def test_every_flag_in_use_is_a_flag_of_the_command_and_takes_its_value(place: str, words: list[str]) -> None:
    program, *flags = words
    assert program == "etcd", place
    given = build_flags().parse(flags)
    assert given["listen-client-urls"] and given["advertise-client-urls"]
    if "initial-cluster" in given:
        own = f"{given['name']}={given['initial-advertise-peer-urls'][0]}"
        assert own in given["initial-cluster"].split(",")


@pytest.mark.parametrize(("place", "words"), list(shown_lines()), ids=[place for place, _ in shown_lines()])
def test_command_lines_that_pages_show_are_taken(place: str, words: list[str]) -> None:
    assert build_flags().parse(words), place


def test_every_variable_in_use_stands_for_a_flag_and_takes_its_value() -> None:
    flags = build_flags()
    known = {variable_name("ETCD", name) for name in flags.flags}
    used = variables()
    assert set(used) <= known
    given = flags.from_environment(used, "ETCD")
    assert len(given) == len(used)
    own = f"{given['name']}={given['initial-advertise-peer-urls'][0]}"
    assert own in given["initial-cluster"].split(",")


def test_members_of_the_compose_file_differ_and_know_each_other() -> None:
    described = compose()
    services = described["services"]
    given = [build_flags().parse(service["command"][1:]) for service in services.values()]
    assert [one["name"] for one in given] == list(services)
    assert len({one["initial-cluster"] for one in given}) == 1
    assert len({str(service["ports"]) for service in services.values()}) == len(services)
    for settings, (name, service) in zip(given, services.items(), strict=True):
        volume, path = service["volumes"][0].split(":")
        assert volume == name and volume in described["volumes"] and path in dockerfile("VOLUME")
        assert (DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).exists()
        assert settings["initial-advertise-peer-urls"] == [f"http://{name}:2380"]
        assert settings["advertise-client-urls"] == [f"http://{name}:2379"]


def moved_procfile() -> dict[str, list[str]]:
    """The flags of the Procfile's members, with ports that nobody else has."""
    ports = {port: str(free_port()) for port in set(re.findall(r":(\d{4,5})\b", PROCFILE.read_text()))}
    return {
        name: [re.sub(r":(\d{4,5})\b", lambda found: ":" + ports[found[1]], word) for word in words[1:]]
        for name, words in procfile().items()
    }


def moved_compose() -> dict[str, list[str]]:
    """The flags of the containers' members, with addresses of this machine in the place of theirs."""
    services = compose()["services"]
    places = {(name, port): f"127.0.0.1:{free_port()}" for name in services for port in ("2379", "2380")}

    def here(own: str, word: str) -> str:
        word = word.replace("//0.0.0.0:", f"//{own}:")
        return re.sub(r"(?<=//)(\w+):(\d+)", lambda found: places[found[1], found[2]], word)

    return {name: [here(name, word) for word in service["command"][1:]] for name, service in services.items()}


@pytest.mark.parametrize("move", [moved_procfile, moved_compose], ids=["Procfile", "compose.yaml"])
def test_three_members_are_started_as_a_file_says_and_etcdctl_writes_to_them(
    tmp_path: Path, move: Callable[[], dict[str, list[str]]]
) -> None:
    etcdctl = real_binary("etcdctl")
    if etcdctl is None:
        pytest.skip("no real etcdctl here")
    commands = move()
    endpoints = [build_flags().parse(flags)["advertise-client-urls"][0] for flags in commands.values()]
    members = []
    for name, flags in commands.items():
        with (tmp_path / f"{name}.log").open("wb") as log:
            members.append(subprocess.Popen([*QUORATE, *flags], cwd=tmp_path, stdout=log, stderr=log))
    try:
        ask = [str(etcdctl), f"--endpoints={','.join(endpoints)}"]
        deadline = time.monotonic() + SECONDS
        while subprocess.run([*ask, "endpoint", "health"], capture_output=True, timeout=SECONDS).returncode:
            assert time.monotonic() < deadline, "\n".join(log.read_text()[-2000:] for log in tmp_path.glob("*.log"))
            assert all(member.poll() is None for member in members)
        assert _said([*ask, "put", "greeting", "hello"]) == "OK\n"
        for endpoint in endpoints:
            assert _said([str(etcdctl), f"--endpoints={endpoint}", "get", "greeting"]) == "greeting\nhello\n"
    finally:
        for member in members:
            member.terminate()
        for member in members:
            member.wait(SECONDS)
    assert sorted(path.name for path in tmp_path.glob("*.etcd")) == [f"{name}.etcd" for name in commands]


def _said(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    verifier = shutil.which("systemd-analyze")
    if verifier is None:
        pytest.skip("no systemd here")
    program = tmp_path / "etcd"
    program.symlink_to(sys.executable)
    unit = tmp_path / UNIT.name
    text = UNIT.read_text()
    assert dockerfile("COPY")[-1].split()[-1] + "/bin/etcd" in text
    unit.write_text(text.replace("ExecStart=/opt/quorate/bin/etcd", f"ExecStart={program}"))
    done = subprocess.run([verifier, "verify", str(unit)], capture_output=True, text=True, timeout=SECONDS)
    assert (done.returncode, [line for line in done.stderr.splitlines() if UNIT.name in line]) == (0, [])
    unit.write_text(unit.read_text().replace("Type=notify", "Type=notified"))
    refused = subprocess.run([verifier, "verify", str(unit)], capture_output=True, text=True, timeout=SECONDS)
    assert "notified" in refused.stderr, "what is wrong is not seen"


def test_the_image_is_made_of_files_that_are_sent_and_has_the_commands_that_are_installed() -> None:
    rules = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    sent = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = [words.split()[:-1] for words in dockerfile("COPY") if not words.startswith("--from")]
    needed = {name for names in copied for name in names}
    assert needed == sent and all((ROOT / name).exists() for name in needed)
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    linked = set(re.findall(r"/opt/quorate/bin/(etcd\S*)", " ".join(dockerfile("RUN"))))
    assert linked == set(scripts)
    assert dockerfile("USER") == ["etcd"]


def test_the_image_asks_the_member_how_it_is_by_a_command_that_it_has() -> None:
    words = json.loads(dockerfile("HEALTHCHECK")[0].partition("CMD ")[2])
    assert words == ["etcdctl", "endpoint", "health"]
    assert f"/opt/quorate/bin/{words[0]} " in " ".join(dockerfile("RUN"))


def test_as_the_first_process_of_a_container_a_member_ends_well_by_the_signal_to_stop(tmp_path: Path) -> None:
    """The kernel keeps the first process of a namespace from ending by a signal of its own."""
    alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
    try:
        subprocess.run([*alone, "true"], capture_output=True, timeout=SECONDS, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no namespaces here")
    member = MemberProcess(tmp_path / "m", command=(*alone, *QUORATE))
    member.start()
    [inside] = Path(f"/proc/{member.pid}/task/{member.pid}/children").read_text().split()
    os.kill(int(inside), signal.SIGTERM)
    assert member.wait_exit(SECONDS) == 0
    assert "received signal; shutting down" in member.log()
