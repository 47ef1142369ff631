"""Turns what raft wants into WAL writes, messages and applied entries, once per loop turn for everything that came in.

    propose / step / tick ──poke──► turn: Ready ─┬─► WAL ──durable──► responses stepped back ──► next Ready
                                                 ├─► apply committed entries, in order
                                                 └─► confirmed reads

Raft runs with asynchronous storage writes (Raft thesis §10.2.1). While the disk is quick a batch is durable before the
turn goes on; when it is slow the WAL's thread has it, and the next batch gathers meanwhile. Either way nothing that a
batch lets raft answer leaves before the batch is durable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from quorate.api.raftpb import Entry, HardState, Message, MessageType
from quorate.raft import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    MemoryStorage,
    ProposalDropped,
    RawNode,
    ReadState,
)
from quorate.storage.wal import WalSnapshot, WalWriter

COMMIT_STEP = 100
"""Entries by which the commit index on disk may lag behind."""

Apply = Callable[[Sequence[Entry]], None]


class RaftLoop:
    """Drives one RawNode on one event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: RawNode,
        storage: MemoryStorage,
        writer: WalWriter,
        *,
        apply: Apply,
        before_turn: Callable[[], None],
        confirmed: Callable[[ReadState], None],
        led_by: Callable[[int], None],
        dropped: Callable[[Sequence[bytes]], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.node = node
        self.storage = storage
        self._loop = loop
        self._writer = writer
        self._apply = apply
        self._before_turn = before_turn
        self._confirmed = confirmed
        self._led_by = led_by
        self._dropped = dropped
        self.turn_ended: Callable[[], None] = _nothing
        """Called when everything that a turn had to answer is answered."""
        self._proposed: list[bytes] = []
        self._in_flight = 0
        """Batches that the thread has and raft has not heard of since."""
        self._fail = fail
        self._poked = False
        self._stopped = False
        self._saved = storage.initial_state()[0]
        self._confirmation: Message | None = None
        """What the last batch with entries will tell raft when it is durable."""
        self._unsaved: HardState | None = None
        """A commit index that is not on disk: it need not be durable (Raft thesis §3.8), so it is not worth a write."""

    def propose(self, data: bytes) -> None:
        """Have `data` proposed in the next turn, with everything else that came in."""
        self._proposed.append(data)
        self.poke()

    def poke(self) -> None:
        """Have a turn at the end of this loop iteration."""
        if not self._poked and not self._stopped:
            self._poked = True
            self._loop.call_soon(self._turn)

    def stop(self) -> None:
        """No more turns."""
        self._stopped = True

    def save_snapshot(self, snapshot: WalSnapshot, done: Callable[[], None]) -> None:
        """Record in the WAL that everything up to `snapshot` is durable elsewhere; `done` is called when it is."""
        if self._stopped:
            return
        # A snapshot counts at restart only if the hard state's commit covers it, so that is written with it.
        state, self._unsaved = self._unsaved, None
        self._saved = state or self._saved
        self._in_flight += 1
        self._writer.submit(state, (), snapshot, partial(self._from_thread, done))

    def _turn(self) -> None:
        self._poked = False
        if self._stopped:
            return
        try:
            self._before_turn()
            self._propose_all()
            while self.node.has_ready():
                self._handle_ready()
            self.turn_ended()
            self._writer.give_way()
        except Exception as err:
            self._fail(err)

    def _propose_all(self) -> None:
        if self._proposed:
            batch, self._proposed = self._proposed, []
            try:
                self.node.propose_many(batch)
            except ProposalDropped:
                self._dropped(batch)

    def _handle_ready(self) -> None:
        ready = self.node.ready()
        if ready.soft_state is not None:
            self._led_by(ready.soft_state.lead)
        for message in ready.messages:
            if message.to == LOCAL_APPEND_THREAD:
                self._append(message)
            elif message.to == LOCAL_APPLY_THREAD:
                self._apply(message.entries)
                self._step_all(message.responses)
            else:
                raise AssertionError(f"a message to member {message.to:x} of a cluster of one")
        for state in ready.read_states:
            self._confirmed(state)

    def _append(self, message: Message) -> None:
        """Have a batch saved; its responses are stepped when it is durable."""
        assert message.type == MessageType.STORAGE_APPEND
        assert message.snapshot is None, "a cluster of one receives no snapshot"
        state: HardState | None = HardState(message.term, message.vote, message.commit)
        if state == HardState():
            state = None
        responses = message.responses
        if not message.entries:
            # Raft asks anew to be told about entries that are on their way already; once is enough.
            responses = [response for response in responses if response != self._confirmation]
            if not responses and (state is None or self._only_commits(state)):
                self._unsaved = state or self._unsaved
                return
        if responses and responses[-1].type == MessageType.STORAGE_APPEND_RESP:
            self._confirmation = responses[-1]
        if state is None or self._only_commits(state):
            state = self._due_state(state)
        else:
            self._unsaved = None
        self._saved = state or self._saved
        # A batch still on its way through the thread must be told to raft first.
        if not self._in_flight and self._writer.save_now(state, message.entries):
            self._saved_now(message.entries, state, responses)
            return
        done = partial(self._appended, message.entries, state, responses)
        self._in_flight += 1
        self._writer.submit(state, message.entries, None, partial(self._from_thread, done))

    def _due_state(self, state: HardState | None) -> HardState | None:
        """A commit index goes along with a batch now and then. It only spares a restart some waiting."""
        newest, self._unsaved = state or self._unsaved, None
        if newest is None or newest.commit - self._saved.commit >= COMMIT_STEP:
            return newest
        self._unsaved = newest
        return None

    def _only_commits(self, state: HardState) -> bool:
        return state.term == self._saved.term and state.vote == self._saved.vote

    def _appended(self, entries: Sequence[Entry], state: HardState | None, responses: Sequence[Message]) -> None:
        """The thread says that a batch is durable."""
        self._saved_now(entries, state, responses)
        self._turn()

    def _saved_now(self, entries: Sequence[Entry], state: HardState | None, responses: Sequence[Message]) -> None:
        """A batch is durable."""
        if state is not None:
            self.storage.set_hard_state(state)
        self.storage.append(entries)
        self._step_all(responses)

    def _step_all(self, responses: Sequence[Message]) -> None:
        for response in responses:
            self.node.step(response)

    def _from_thread(self, done: Callable[[], None], error: BaseException | None) -> None:
        """Called on the WAL thread."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._finish, done, error)

    def _finish(self, done: Callable[[], None], error: BaseException | None) -> None:
        self._in_flight -= 1
        if self._stopped:
            return
        if error is not None:
            self._fail(error)
            return
        try:
            done()
        except Exception as err:
            self._fail(err)


def _nothing() -> None:
    """Nobody wants to know."""
