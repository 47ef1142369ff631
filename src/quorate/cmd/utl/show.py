"""Answers in the formats that `--write-out` names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from quorate.cmd.ctl.failures import BAD_FEATURE, Fail
from quorate.cmd.ctl.show import FORMATS, table
from quorate.pkg.gotext import si_bytes

if TYPE_CHECKING:
    from quorate.server.offline.looking import Status
    from quorate.storage.mvcc import HashResult


class Answer(NamedTuple):
    """One thing said in different ways."""

    simple: str
    json: Mapping[str, Any]
    fields: Mapping[str, Any]
    head: Sequence[str]
    """Of the table."""
    row: Sequence[str]


def check_format(name: str) -> None:
    """Raises Fail for a format that there is not, or that no command here has."""
    if name not in FORMATS:
        raise Fail(BAD_FEATURE, "unsupported output format")
    if name == "protobuf":
        raise Fail(BAD_FEATURE, "protobuf not supported as output format")


def render(answer: Answer, name: str) -> str:
    """The answer in a format that `check_format` lets pass, with the end of its last line."""
    forms: dict[str, Callable[[], str]] = {
        "simple": lambda: answer.simple,
        "json": lambda: json.dumps(answer.json, separators=(",", ":")),
        "fields": lambda: "\n".join(f'"{key}" : {value}' for key, value in answer.fields.items()),
        "table": lambda: "\n".join(map(str, table(answer.head, [answer.row]))),
    }
    return forms[name]() + "\n"


def status_answer(status: Status) -> Answer:
    """What `snapshot status` prints."""
    row = [f"{status.hash:x}", str(status.revision), str(status.live_keys), si_bytes(status.size), status.version]
    return Answer(
        ", ".join(row),
        {
            "hash": status.hash,
            "revision": status.revision,
            "totalKey": status.live_keys,
            "totalSize": status.size,
            "version": status.version,
        },
        {
            "Hash": status.hash,
            "Revision": status.revision,
            "Keys": status.live_keys,
            "Size": status.size,
            "Version": status.version,
        },
        ["HASH", "REVISION", "TOTAL KEYS", "TOTAL SIZE", "VERSION"],
        row,
    )


def hash_answer(result: HashResult) -> Answer:
    """What `hashkv` prints."""
    row = [str(result.hash), str(result.revision), str(result.compact_revision)]
    return Answer(
        ", ".join(row),
        {"hash": result.hash, "hashRevision": result.revision, "compactRevision": result.compact_revision},
        {"Hash": row[0], "Hash revision": row[1], "Compact revision": row[2]},
        ["HASH", "HASH REVISION", "COMPACT REVISION"],
        row,
    )
