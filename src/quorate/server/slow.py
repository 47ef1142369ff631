"""Requests that took too long, and where their time went: the log lines that say whether to look at the disk, at the
network or at this machine. Values of keys are never in them.

A slow disk makes a thousand writers wait at once. One line tells of the one that waited longest and of how many others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from quorate.api.internal import decode_request
from quorate.api.pb import rpc_pb2 as rpc
from quorate.api.raftpb import Entry, EntryType
from quorate.pkg.jsonlog import get_log
from quorate.server.proposals import Proposal
from quorate.txn.tree import Txn

log = get_log(__name__)

SAVES_KEPT = 256
"""Batches of the log whose times are remembered."""
KEY_BYTES = 128
"""Bytes of a key that are shown."""


class Save(NamedTuple):
    """One batch of entries on its way to this member's disk, in monotonic seconds."""

    last_index: int
    began: float
    ended: float


class SlowRequests:
    """`limit` is in seconds."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.applies = 0
        """Entries and reads that took longer by themselves."""
        self.rounds = 0
        """Rounds of linearizable reads that did."""
        self._saves: deque[Save] = deque(maxlen=SAVES_KEPT)

    def saved(self, last_index: int, began: float, ended: float) -> None:
        """Entries up to `last_index` are on this member's disk."""
        self._saves.append(Save(last_index, began, ended))

    def apply(self, entry: Entry, took: float) -> None:
        """Applying one entry took `took` seconds."""
        if entry.type != EntryType.NORMAL:
            self._apply("", "conf_change", took)
        elif entry.data:
            kind, request, *_ = decode_request(entry.data)
            self._apply("", describe(kind, request), took)
        else:
            self._apply("", "the first entry of a term", took)

    def range(self, request: rpc.RangeRequest, took: float) -> None:
        """Reading a range took `took` seconds."""
        self._apply("read-only range ", describe("range", request), took)

    def _apply(self, prefix: str, request: str, took: float) -> None:
        self.applies += 1
        log.warn(
            "apply request took too long",
            took=_milliseconds(took),
            expected_duration=_milliseconds(self.limit),
            prefix=prefix,
            request=request,
        )

    def read_round(self, took: float) -> None:
        """All linearizable reads of a turn waited so many seconds for their read index and for it to be applied."""
        self.rounds += 1
        log.warn(
            "agreement among raft nodes before linearized reading took too long",
            took=_milliseconds(took),
            expected_duration=_milliseconds(self.limit),
        )

    def answered(self, proposals: Sequence[Proposal], index: int, committed: float, applied: float) -> None:
        """Own proposals are answered that waited too long: the first of them the longest, its entry being at or before
        `index`; it was known to be committed at `committed`, and its batch was applied at `applied`."""
        first = proposals[0]
        save = next((save for save in self._saves if save.last_index >= index), None)
        if save is None or not first.made_at <= save.began <= save.ended <= committed:
            waits = {"agreement": committed - first.made_at}
        else:
            waits = {
                "wait for a batch": save.began - first.made_at,
                "disk of this member": save.ended - save.began,
                "other members": committed - save.ended,
            }
        waits["apply"] = applied - committed
        log.warn(
            "request took too long",
            took=_milliseconds(applied - first.made_at),
            expected_duration=_milliseconds(self.limit),
            request=describe(first.kind, first.request),
            steps=[f"{what}: {_milliseconds(seconds)}" for what, seconds in waits.items()],
            others=sum(applied - proposal.made_at > self.limit for proposal in proposals) - 1,
        )


def describe(kind: str, request: Any) -> str:
    """What a request is about, in one line: keys, revisions and IDs; of values their size."""
    match kind:
        case "put":
            fields = [_key(request.key), f"value_size:{len(request.value)}", *_numbers(request, "lease")]
        case "range" | "delete_range":
            fields = [_key(request.key)]
            if request.range_end:
                fields.append(_key(request.range_end, "range_end"))
            fields += _numbers(request, "limit", "revision") if kind == "range" else []
        case "txn":
            fields = [
                f"{part}:{len(operations)}"
                for part in ("compare", "success", "failure")
                if (operations := getattr(request, part))
            ]
            fields.append(f"size:{request.size if isinstance(request, Txn) else request.ByteSize()}")
        case "compaction":
            fields = _numbers(request, "revision")
        case "lease_grant" | "lease_revoke":
            fields = [f"ID:{request.ID:x}"]
        case _:
            fields = []
    return f"{kind}:<{' '.join(fields)}>"


def _key(key: bytes, name: str = "key") -> str:
    shown = key[:KEY_BYTES].decode(errors="backslashreplace")
    return f'{name}:"{shown}{"..." if len(key) > KEY_BYTES else ""}"'


def _numbers(request: Any, *names: str) -> list[str]:
    return [f"{name}:{value}" for name in names if (value := getattr(request, name))]


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}ms"
