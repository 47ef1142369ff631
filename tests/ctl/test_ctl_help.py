"""Help, completion and the commands that stock 3.5.1 does not have."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from quorate.cmd.ctl.index import INDEX
from quorate.testing.process import Command, MemberProcess

from ctl_pair import OURS, Side  # isort: skip

pytestmark = pytest.mark.real

NOT_HERE = {"snapshot restore", "snapshot status"}
"""Only point to etcdutl."""
SECTION = re.compile(rb"^[A-Z ]+:$", re.MULTILINE)


def answer(command: Command, *words: str) -> tuple[int, bytes, bytes]:
    done = subprocess.run([*command, *words], capture_output=True, check=False)
    return done.returncode, done.stdout, done.stderr


def commands_in(text: bytes) -> set[str]:
    listed = text.split(b"\nCOMMANDS:\n", 1)[1].split(b"\n\n")[0]
    return {line.strip().split(b"\t")[0].decode() for line in listed.splitlines()}


def test_every_command_of_the_stock_client_is_there(stock: Command) -> None:
    assert commands_in(answer(stock)[1]) <= set(INDEX)
    assert commands_in(answer(OURS)[1]) == set(INDEX)


@pytest.mark.parametrize("words", [[], ["lease"], ["put"], ["get"], ["txn"], ["lease", "grant"], ["check", "perf"]])
def test_help_has_the_layout_of_the_stock_one(stock: Command, words: list[str]) -> None:
    for asked in ([*words, "--help"], [*words, "-h"], ["help", *words]):
        code, out, err = answer(OURS, *asked)
        expected = answer(stock, *asked)
        assert (code, err) == (expected[0], expected[2])
        assert SECTION.findall(out) == SECTION.findall(expected[1])
        assert out.splitlines()[4] == expected[1].splitlines()[4] or words


@pytest.mark.parametrize("name", sorted(set(INDEX) - NOT_HERE))
def test_flags_of_the_stock_client_are_there_with_their_defaults(stock: Command, name: str) -> None:
    code, out, _ = answer(stock, *name.split(), "--help")
    if code or f" {name} - ".encode() not in b" " + out.replace(b"\t", b" "):
        pytest.skip("not in the stock client")
    flag = re.compile(rb"--[a-z-]+(?:\[=[a-z]+\]|=\S+)")
    missing = set(flag.findall(out)) - set(flag.findall(answer(OURS, *name.split(), "--help")[1]))
    assert missing <= {b'--data-dir=""'}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_completion_scripts_name_all_commands(shell: str) -> None:
    code, out, _ = answer(OURS, "completion", shell)
    assert code == 0
    assert all(word.encode() in out for name in INDEX for word in name.split())


def test_completion_wants_a_shell() -> None:
    assert answer(OURS, "completion") == (1, b"", b"Error: accepts 1 arg(s), received 0\n")


@pytest.mark.parametrize(
    ("line", "found"),
    [
        (["etcdctl", "lea"], {"lease"}),
        (["etcdctl", "lease", "ti"], {"timetolive"}),
        (["etcdctl", "get", "--pref"], {"--prefix"}),
        (["etcdctl", "get", "--endp"], {"--endpoints"}),
        (["etcdctl", "-w", "co"], {"compaction", "completion"}),
    ],
)
def test_bash_completes_commands_and_flags(line: list[str], found: set[str], tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    script = answer(OURS, "completion", "bash")[1]
    words = " ".join(f"'{word}'" for word in line)
    ask = f"\nCOMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _etcdctl; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n"
    path = tmp_path / "script"
    path.write_bytes(script + ask.encode())
    done = subprocess.run(["bash", str(path)], capture_output=True, check=True)
    assert set(done.stdout.decode().split()) == found


def test_options_lists_the_flags_of_all_commands() -> None:
    code, out, _ = answer(OURS, "options")
    assert code == 0
    assert b"--endpoints=[127.0.0.1:2379]" in out


def test_downgrades_are_answered(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    assert side.run(["downgrade", "validate"])[::2] == (128, b"Error: TARGET_VERSION not provided\n")
    assert side.run(["downgrade", "enable", "x"]).err == b"Error: etcdserver: wrong downgrade target version format\n"
    assert side.run(["downgrade", "validate", "3.0"]).err == b"Error: etcdserver: invalid downgrade target version\n"
    ok = side.run(["downgrade", "validate", "3.6"])
    assert ok == (0, b"Downgrade validate success, cluster version 3.7\n", b"")
    assert side.run(["downgrade", "enable", "3.6"]).out == b"Downgrade enable success, cluster version 3.7\n"
    cancelled = side.run(["downgrade", "cancel", "-w", "json"]).out
    assert re.search(rb'"version":"3\.[67]"}\n$', cancelled)  # a cluster of one may be down there already


def test_an_answer_may_come_in_parts(member: MemberProcess) -> None:
    side = Side(OURS, member.endpoint)
    for number in range(5):
        side.run(["put", f"k{number}", str(number)])
    for form in ("simple", "json", "fields"):
        whole = side.run(["get", "--prefix", "k", "-w", form])
        assert side.run(["get", "--prefix", "k", "--stream", "-w", form]) == whole
    filtered = side.run(["get", "--prefix", "k", "--min-mod-rev", "4", "--max-create-rev", "5"])
    assert filtered.out == b"k2\n2\nk3\n3\n"
