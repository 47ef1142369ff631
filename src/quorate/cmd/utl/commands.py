"""The commands: their words, their flags, and what each calls. What they call is imported where it is called."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from quorate.cmd.ctl.failures import BAD_ARGS, Fail
from quorate.cmd.ctl.flags import BOOL, DURATION, INT, STRING, UINT, Flag
from quorate.cmd.utl.show import check_format, hash_answer, render, status_answer
from quorate.version import CLUSTER_VERSION, ETCD_VERSION, QUORATE_VERSION

Values = dict[str, Any]


class Command(NamedTuple):
    """`run` gets the values of the flags and the arguments, and returns what goes to stdout. Raises Fail, and
    OfflineError."""

    words: tuple[str, ...]
    arguments: str
    short: str
    run: Callable[[Values, list[str]], str]
    flags: tuple[Flag, ...] = ()
    required: tuple[str, ...] = ()


GLOBAL_FLAGS = (
    Flag("timeout", DURATION, 10.0, "how long to wait for files that a member or another tool holds (0: for ever)"),
    Flag("write-out", STRING, "simple", "output format (fields, json, protobuf, simple, table)", "w"),
)

GROUPS = {("snapshot",): "Work with snapshot files"}
"""Words that need another one."""

DATA_DIR = Flag("data-dir", STRING, "", "data directory of a member that does not run (required)")
WAL_DIR = Flag("wal-dir", STRING, "", "its directory for the log, where that lies elsewhere")


def _status(values: Values, args: list[str]) -> str:
    from quorate.server.offline.looking import status

    if len(args) != 1:
        raise Fail(BAD_ARGS, "snapshot status requires exactly one argument")
    check_format(values["write-out"])
    return render(status_answer(status(Path(args[0]))), values["write-out"])


def _hashkv(values: Values, args: list[str]) -> str:
    from quorate.server.offline.looking import hash_kv

    if len(args) != 1:
        raise Fail(BAD_ARGS, "hashkv requires exactly one argument")
    check_format(values["write-out"])
    return render(hash_answer(hash_kv(Path(args[0]), values["rev"])), values["write-out"])


def _restore(values: Values, args: list[str]) -> str:
    from quorate.server.offline.restore import Restore, restore

    if len(args) != 1:
        raise Fail(BAD_ARGS, "snapshot restore requires exactly one argument")
    if bool(values["bump-revision"]) != values["mark-compacted"]:
        raise Fail(BAD_ARGS, "--mark-compacted required if --revision-bump > 0")
    restore(
        Restore(
            snapshot=Path(args[0]),
            data_dir=Path(values["data-dir"] or f"{values['name']}.etcd"),
            wal_dir=_path(values["wal-dir"]),
            name=values["name"],
            initial_cluster=values["initial-cluster"],
            initial_cluster_token=values["initial-cluster-token"],
            peer_urls=values["initial-advertise-peer-urls"],
            skip_hash_check=values["skip-hash-check"],
            bump_revision=values["bump-revision"],
        )
    )
    return ""


def _import(values: Values, args: list[str]) -> str:
    from quorate.server.offline.from_etcd import take_over

    if len(args) != 1:
        raise Fail(BAD_ARGS, "import requires exactly one argument, the data directory of a stopped etcd")
    take_over(Path(args[0]), Path(values["data-dir"]), _path(values["from-wal-dir"]), _path(values["wal-dir"]))
    return ""


def _export(values: Values, args: list[str]) -> str:
    from quorate.server.offline.to_etcd import hand_over

    if len(args) != 1:
        raise Fail(BAD_ARGS, "export requires exactly one argument, the data directory of a stopped member")
    _check_target(values["target-version"])
    hand_over(Path(args[0]), Path(values["data-dir"]), _path(values["from-wal-dir"]), values["target-version"])
    return ""


def _defrag(values: Values, args: list[str]) -> str:
    from quorate.server.offline.errors import OfflineError
    from quorate.server.offline.upkeep import defragment

    try:
        defragment(Path(values["data-dir"]))
    except OfflineError as err:
        raise type(err)(f"Failed to defragment etcd data[{values['data-dir']}] ({err})") from err
    return ""


def _migrate(values: Values, args: list[str]) -> str:
    from quorate.server.offline.upkeep import migrate

    _check_target(values["target-version"])
    migrate(Path(values["data-dir"]), values["target-version"], _path(values["wal-dir"]), force=values["force"])
    return ""


def _backup(values: Values, args: list[str]) -> str:
    from quorate.server.offline.upkeep import copy

    if not values["with-v3"]:
        raise Fail(BAD_ARGS, "--with-v3=false would leave nothing: there are no keys of API v2 here")
    directories = [_path(values[name]) for name in ("wal-dir", "backup-wal-dir")]
    copy(Path(values["data-dir"]), Path(values["backup-dir"]), *directories)
    return ""


def _version(values: Values, args: list[str]) -> str:
    minor = CLUSTER_VERSION.removesuffix(".0")
    return f"etcdutl version: {ETCD_VERSION}\nAPI version: {minor}\nQuorate version: {QUORATE_VERSION}\n"


def _completion(values: Values, args: list[str]) -> str:
    from quorate.cmd.utl.usage import completion

    if len(args) != 1:
        raise Fail(1, f"accepts 1 arg(s), received {len(args)}")
    return completion(args[0])


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _check_target(text: str) -> None:
    from quorate.server.offline.errors import OfflineError
    from quorate.server.offline.to_etcd import parse_release

    if text:
        try:
            parse_release(text)
        except OfflineError as err:
            raise Fail(BAD_ARGS, str(err)) from err


COMMANDS = (
    Command(
        ("backup",),
        "",
        "Copy a member's directory under new IDs, to be started with --force-new-cluster",
        _backup,
        (
            Flag("backup-dir", STRING, "", "directory to make (required)"),
            Flag("backup-wal-dir", STRING, "", "directory to make for the log, where it is to lie elsewhere"),
            DATA_DIR,
            WAL_DIR,
            Flag("with-v3", BOOL, True, "copy the database"),
        ),
        ("backup-dir", "data-dir"),
    ),
    Command(("completion",), "[bash|zsh|fish|powershell]", "Print a script that completes command lines", _completion),
    Command(("defrag",), "", "Make a member's database as small as its rows", _defrag, (DATA_DIR,), ("data-dir",)),
    Command(
        ("export",),
        "<data directory> --data-dir {output dir}",
        "Make a data directory for a real etcd",
        _export,
        (
            Flag("data-dir", STRING, "", "directory to make (required)"),
            Flag("from-wal-dir", STRING, "", "where the log is read, if not in the data directory"),
            Flag("target-version", STRING, "", "release of etcd that is to start on it, X.Y (default: the cluster's)"),
        ),
        ("data-dir",),
    ),
    Command(
        ("hashkv",),
        "<filename>",
        "Print the hash of all keys up to a revision",
        _hashkv,
        (Flag("rev", INT, 0, "revision up to which to hash (0: all)"),),
    ),
    Command(
        ("import",),
        "<data directory of etcd> --data-dir {output dir}",
        "Make a data directory of a real etcd's",
        _import,
        (
            Flag("data-dir", STRING, "", "directory to make (required)"),
            Flag("from-wal-dir", STRING, "", "where etcd's log is read, if not in its data directory"),
            Flag("wal-dir", STRING, "", "directory to make for the log, if not in the data directory"),
        ),
        ("data-dir",),
    ),
    Command(
        ("migrate",),
        "",
        "Bring a member's database to the rules of another release",
        _migrate,
        (
            DATA_DIR,
            Flag("force", BOOL, False, "do not ask whether the log holds what that release does not know"),
            Flag("target-version", STRING, "", "release to go to, X.Y (required)"),
            WAL_DIR,
        ),
        ("data-dir", "target-version"),
    ),
    Command(
        ("snapshot", "restore"),
        "<filename> --data-dir {output dir} [options]",
        "Make the data directory of a member of a new cluster",
        _restore,
        (
            Flag("bump-revision", UINT, 0, "how much to add to the newest revision"),
            Flag("data-dir", STRING, "", "directory to make (default: the name and .etcd)"),
            Flag("initial-advertise-peer-urls", STRING, "http://localhost:2380", "the member's peer URLs"),
            Flag("initial-cluster", STRING, "default=http://localhost:2380", "all members of the new cluster"),
            Flag("initial-cluster-token", STRING, "etcd-cluster", "token of the new cluster"),
            Flag("initial-memory-map-size", UINT, 10737418240, "taken and not needed: memory maps grow by themselves"),
            Flag("mark-compacted", BOOL, False, "count all revisions up to the raised one as compacted"),
            Flag("name", STRING, "default", "the member's name"),
            Flag("skip-hash-check", BOOL, False, "take a file without a hash, as from a data directory"),
            Flag("wal-dir", STRING, "", "directory to make for the log, if not in the data directory"),
        ),
    ),
    Command(("snapshot", "status"), "<filename>", "Print what a snapshot file holds", _status),
    Command(("version",), "", "Print the versions of this program", _version),
)
