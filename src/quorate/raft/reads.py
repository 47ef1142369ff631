"""Linearizable reads without the log: the commit index, and proof that who tells it still leads (Raft thesis §6.4).

A round of heartbeats carries a number that grows with every read; a follower that echoes a number followed this
leader after all reads up to it had come in. What a quorum has echoed is confirmed, for all reads up to it at once.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from quorate.api.raftpb import Entry, Message, MessageType
from quorate.raft import sending
from quorate.raft.config import ReadOnlyOption
from quorate.raft.quorum import committed_index
from quorate.raft.role import LEADER

if TYPE_CHECKING:
    from quorate.raft.machine import Raft

CONTEXT_BYTES = 8


class ReadState(NamedTuple):
    """The answer to a read: state at `index` or later shows everything acknowledged before the read came in."""

    index: int  # type: ignore[assignment]
    context: bytes


class ReadQueue:
    """Reads a leader has not answered yet, in the order they came."""

    __slots__ = ("_acked", "_pending", "_round", "postponed", "proven_term")

    def __init__(self) -> None:
        self._round = 0
        self._pending: deque[tuple[int, int, Message]] = deque()  # round, commit index when it came in, request
        self._acked: dict[int, int] = {}
        self.postponed: list[Message] = []
        """Reads that came before this leader had committed an entry of its term."""
        self.proven_term = 0
        """A term in which this leader was seen to have committed an entry."""

    def add(self, index: int, request: Message, own_id: int) -> bytes:
        """Queue `request`, to be answered with `index`; returns the context for the heartbeats that confirm it."""
        self._round += 1
        self._pending.append((self._round, index, request))
        self._acked[own_id] = self._round
        return self.last_context()

    def last_context(self) -> bytes:
        """Context of the newest unanswered read; empty if there is none."""
        return self._pending[-1][0].to_bytes(CONTEXT_BYTES, "little") if self._pending else b""

    def acknowledge(self, raft: Raft, from_: int, context: bytes) -> list[tuple[int, Message]]:
        """`from_` has echoed `context`; returns index and request of the reads confirmed by that."""
        if len(context) != CONTEXT_BYTES:
            return []
        number = min(int.from_bytes(context, "little"), self._round)
        self._acked[from_] = max(number, self._acked.get(from_, 0))
        membership = raft.tracker.membership
        confirmed = committed_index(membership.incoming, membership.outgoing, self._acked)
        released = []
        while self._pending and self._pending[0][0] <= confirmed:
            _, index, request = self._pending.popleft()
            released.append((index, request))
        return released


def handle_read_index(raft: Raft, m: Message) -> None:
    """A read has come in at the leader, of its own or from a follower."""
    if not raft.committed_in_term():
        raft.reads.postponed.append(m)
        return
    committed = raft.log.committed
    if _is_only_voter(raft) or raft.read_only == ReadOnlyOption.LEASE_BASED:
        _answer(raft, m, committed)
    else:
        sending.broadcast_heartbeat(raft, raft.reads.add(committed, m, raft.id))


def index_at_hand(raft: Raft) -> int | None:
    """The index to read at when no round is needed to know it: nobody else can lead. Else None."""
    if raft.role != LEADER or not _is_only_voter(raft):
        return None
    if raft.reads.proven_term != raft.term:
        if not raft.committed_in_term():
            return None
        raft.reads.proven_term = raft.term
    return raft.log.committed


def release_postponed_reads(raft: Raft) -> None:
    """The commit index has moved; the reads that waited for it to be of the own term go on."""
    if raft.committed_in_term():
        postponed, raft.reads.postponed = raft.reads.postponed, []
        for m in postponed:
            handle_read_index(raft, m)


def heartbeat_acknowledged(raft: Raft, m: Message) -> None:
    for index, request in raft.reads.acknowledge(raft, m.from_, m.context):
        _answer(raft, request, index)


def forward(raft: Raft, m: Message) -> None:
    if not raft.lead:
        raft.logger.info(f"{raft.id:x} no leader at term {raft.term}; dropping index reading msg")
        return
    m.to = raft.lead
    raft.send(m)


def handle_read_index_response(raft: Raft, m: Message) -> None:
    if len(m.entries) != 1:
        raft.logger.error(
            f"{raft.id:x} invalid format of MsgReadIndexResp from {m.from_:x}, entries count: {len(m.entries)}"
        )
        return
    raft.read_states.append(ReadState(m.index, m.entries[0].data))


def _is_only_voter(raft: Raft) -> bool:
    """Can nobody else lead? A leader that was removed goes on for a while, and the one voter is somebody else."""
    membership = raft.tracker.membership
    return len(membership.incoming) == 1 and not membership.outgoing and raft.id in membership.incoming


def _answer(raft: Raft, request: Message, index: int) -> None:
    if request.from_ in (0, raft.id):
        raft.read_states.append(ReadState(index, request.entries[0].data))
    else:
        entries: list[Entry] = request.entries
        raft.send(Message(MessageType.READ_INDEX_RESP, to=request.from_, index=index, entries=entries))
