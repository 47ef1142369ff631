"""`snapshot save`, and where `status` and `restore` have gone."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, NoReturn

from quorate.cmd.ctl.failures import BAD_ARGS, INTERRUPTED, CallFail, Exit, Fail
from quorate.cmd.ctl.flags import BOOL, STRING, Flag
from quorate.cmd.ctl.globals import show_value
from quorate.cmd.ctl.index import Command
from quorate.pkg.gotext import json_string, si_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from quorate.cmd.ctl.run import Run

HASH_BYTES = 32
SECTOR_BYTES = 512


def _save(run: Run) -> None:
    if len(run.args) != 1:
        raise Fail(BAD_ARGS, "snapshot save expects one argument")
    path = run.args[0]
    endpoints = [endpoint.text for endpoint in run.client().endpoints]
    if len(endpoints) != 1:
        names = " ".join(endpoints)
        raise Fail(INTERRUPTED, f"snapshot must be requested to one selected node, not multiple [{names}]")
    part = f"{path}.part"
    try:
        file = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        reason = os.strerror(error.errno or 0).lower()
        raise Fail(INTERRUPTED, f"could not open {part} (open {part}: {reason})") from None
    try:
        _log("created temporary db file", path=part)
        started = time.monotonic()
        size = _fetch(run, file)
        os.fsync(file)
        _log("fetched snapshot", endpoint=endpoints[0], size=si_bytes(size), took=f"{time.monotonic() - started:.3f}s")
        os.rename(part, path)
    except OSError as error:
        raise Fail(INTERRUPTED, f"could not write {part} ({os.strerror(error.errno or 0).lower()})") from None
    finally:
        os.close(file)
    _log("saved", path=path)
    run.print(f"Snapshot saved at {path}")


def _fetch(run: Run, file: int) -> int:
    """Write what the member sends; how many bytes that is. Raises Fail for a snapshot that is not whole, OSError."""
    import hashlib

    digest = hashlib.sha256()
    size, tail = 0, b""
    try:
        stream = run.client().stream("Snapshot", {}, last=True)
        while (reply := stream.receive()) is not None:
            blob = reply.blob
            size += len(blob)
            _write(file, blob)
            tail += blob
            digest.update(tail[:-HASH_BYTES])
            tail = tail[-HASH_BYTES:]
    except CallFail as fail:
        raise Fail(INTERRUPTED, fail.text) from None
    if size % SECTOR_BYTES != HASH_BYTES:
        raise Fail(INTERRUPTED, f"sha256 checksum not found [bytes: {size}]")
    if digest.digest() != tail:
        raise Fail(INTERRUPTED, f"expected sha256 {list(tail)}, got {list(digest.digest())}")
    return size


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _log(text: str, **fields: str) -> None:
    shown = "".join(f",{json_string(name)}:{json_string(value)}" for name, value in fields.items())
    sys.stderr.write(
        f'{{"level":"info","ts":{time.time()},"caller":"ctl/snapshot.py","msg":{json_string(text)}{shown}}}\n'
    )


def _moved(word: str) -> Callable[[Run], None]:
    def tell(run: Run) -> None:
        run.warn(f"Deprecated: Use `etcdutl snapshot {word}` instead.", "")
        if len(run.args) != 1:
            raise Fail(BAD_ARGS, f"snapshot {word} requires exactly one argument")
        hand_over(run, ["snapshot", word], RESTORE_FLAGS if word == "restore" else ())

    return tell


def hand_over(run: Run, words: list[str], flags: tuple[Flag, ...]) -> NoReturn:
    """Do what etcdutl does with these words, with those of the flags that were given, and with the arguments. Raises
    Exit, and Fail for a format that there is not."""
    form = run.format
    from quorate.cmd.utl.main import run as etcdutl

    given = [f"--{flag.name}={show_value(flag, run.flags[flag.name])}" for flag in flags if flag.name in run.given]
    raise Exit(etcdutl([*words, f"--write-out={form}", *given, "--", *run.args]))


RESTORE_FLAGS = (
    Flag("data-dir", STRING, "", "directory to make"),
    Flag("initial-advertise-peer-urls", STRING, "http://localhost:2380", "the member's peer URLs"),
    Flag("initial-cluster", STRING, "default=http://localhost:2380", "all members of the new cluster"),
    Flag("initial-cluster-token", STRING, "etcd-cluster", "token of the new cluster"),
    Flag("name", STRING, "default", "the member's name"),
    Flag("skip-hash-check", BOOL, False, "take a file without a hash, as from a data directory"),
    Flag("wal-dir", STRING, "", "directory to make for the log, if not in the data directory"),
)

COMMANDS = {
    "snapshot save": Command("snapshot save <filename>", _save),
    "snapshot status": Command("snapshot status <filename>", _moved("status")),
    "snapshot restore": Command("snapshot restore <filename> [options]", _moved("restore"), RESTORE_FLAGS),
}
