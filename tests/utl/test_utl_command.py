"""How etcdutl is called, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest
from utl_support import Saved, done, real_utl, utl

from quorate.cmd.utl.commands import COMMANDS
from quorate.pkg.gotext import si_bytes

FLAGS = ["--timeout", "--write-out"]


@pytest.mark.real
@pytest.mark.parametrize(
    "words",
    [
        *([], ["help"], ["snapshot"], ["snapshot", "bogus"], ["--help"], ["help", "snapshot", "status"]),
        *(["bogus"], ["--bogus"], ["snapshot", "status", "--bogus"], ["snapshot", "status", "--write-out"]),
        *(["snapshot", "status"], ["snapshot", "status", "a", "b"], ["snapshot", "status", "/nosuch"]),
        *(["snapshot", "status", "{saved}"], ["snap", "stat", "{saved}"], ["-wjson", "snapshot", "status", "{saved}"]),
        *(["snapshot", "status", "{saved}", "-w", "protobuf"], ["snapshot", "status", "{saved}", "-w=bogus"]),
        *(["snapshot", "status", "--", "{saved}"], ["version"], ["version", "x"], ["defrag"], ["backup"]),
        *(["snapshot", "restore", "/nosuch", "--data-dir={new}"], ["snapshot", "restore", "--data-dir={new}"]),
    ],
)
def test_exit_codes_and_errors_are_those_of_real_etcdutl(words: list[str], real: Saved, tmp_path: object) -> None:
    given = [word.format(saved=real.path, new=f"{tmp_path}/new") for word in words]
    ours = utl(*given)
    theirs = real_utl(*given)
    assert ours.code == theirs.code
    assert bool(ours.out) == bool(theirs.out)
    errors = [line for line in theirs.err.splitlines() if line.startswith("Error: ")]
    assert [line for line in ours.err.splitlines() if line.startswith("Error: ")] == errors[:1]


def test_the_program_starts_as_a_module_and_ends_with_the_code() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "quorate.cmd.utl", "hashkv"], capture_output=True, text=True, timeout=60, check=False
    )
    assert (ended.returncode, ended.stdout) == (128, "")
    assert ended.stderr == "Error: hashkv requires exactly one argument\n"


def test_versions() -> None:
    assert done("version").splitlines()[:2] == ["etcdutl version: 3.7.0", "API version: 3.7"]


@pytest.mark.parametrize(
    ("form", "lines"),
    [
        ("simple", ["{hash:x}, {revision}, {keys}, {text}, 3.7.0"]),
        ("fields", ['"Hash" : {hash}', '"Revision" : {revision}', '"Keys" : {keys}', '"Size" : {size}']),
        ("json", ['{{"hash":{hash},"revision":{revision},"totalKey":{keys},"totalSize":{size},"version":"3.7.0"}}']),
        ("table", ["+--", "|   HASH   | REVISION | TOTAL KEYS | TOTAL SIZE | VERSION |"]),
    ],
)
def test_formats_of_a_status(form: str, lines: list[str], ours: Saved) -> None:
    crc, revision, keys, text, _ = done("snapshot", "status", ours.path).strip().split(", ")
    size = ours.path.stat().st_size - 32
    told = done("snapshot", "status", ours.path, "-w", form).splitlines()
    for line, expected in zip(told, lines, strict=False):
        wanted = expected.format(hash=int(crc, 16), revision=int(revision), keys=int(keys), text=text, size=size)
        assert line == wanted or (wanted == "+--" and line.startswith(wanted))


def test_formats_of_a_hash(ours: Saved) -> None:
    crc, revision, compacted = done("hashkv", ours.path).strip().split(", ")
    fields = f'"Hash" : {crc}\n"Hash revision" : {revision}\n"Compact revision" : {compacted}\n'
    assert done("hashkv", ours.path, "-w", "fields") == fields
    told = f'{{"hash":{crc},"hashRevision":{revision},"compactRevision":{compacted}}}\n'
    assert done("hashkv", ours.path, "-w", "json") == told
    at = int(compacted) + 1
    assert done("hashkv", ours.path, "--rev", at).split(", ")[1:] == [str(at), f"{compacted}\n"]
    assert utl("hashkv", ours.path, "--rev", 3).error == "mvcc: required revision has been compacted"
    assert utl("hashkv", ours.path, "--rev", 9999).error == "mvcc: required revision is a future revision"


def test_sizes_as_people_read_them() -> None:
    sizes = {0: "0 B", 9: "9 B", 28: "28 B", 999: "999 B", 1000: "1.0 kB", 28_672: "29 kB", 1_234_567: "1.2 MB"}
    assert {size: si_bytes(size) for size in sizes} == sizes


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.words))
def test_help_names_every_flag(command: object) -> None:
    text = done(*command.words, "--help")  # type: ignore[attr-defined]
    assert text == done("help", *command.words)  # type: ignore[attr-defined]
    for flag in command.flags:  # type: ignore[attr-defined]
        assert f"--{flag.name}" in text
    for name in FLAGS:
        assert name in text


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["etcdutl", "sn"], {"snapshot"}),
        (["etcdutl", "snapshot", "re"], {"restore"}),
        (["etcdutl", "snapshot", "restore", "--init"], None),
        (["etcdutl", "defrag", "--data"], {"--data-dir"}),
    ],
)
def test_the_script_for_bash_completes_commands_and_flags(words: list[str], completed: set[str] | None) -> None:
    script = (
        done("completion", "bash")
        + f"""
COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _etcdutl; printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    )
    ended = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=20, check=True)
    found = set(ended.stdout.split())
    assert found == completed if completed else "--initial-cluster-token" in found


def test_there_are_scripts_for_four_shells() -> None:
    for shell in ("bash", "zsh", "fish", "powershell"):
        assert "restore" in done("completion", shell)
    assert utl("completion").error == "accepts 1 arg(s), received 0"
    assert utl("completion", "tcsh").code == 1
