"""Turns what raft wants into WAL writes, messages and applied entries, once per loop turn for everything that came in.

    propose / receive / tick ──poke──► turn: Ready ─┬─► messages to the other members
                                                    ├─► WAL ──durable──► responses stepped back or sent ──► next Ready
                                                    ├─► apply committed entries, in order
                                                    └─► confirmed reads

Raft runs with asynchronous storage writes (Raft thesis §10.2.1). While the disk is quick a batch is durable before the
turn goes on; when it is slow the WAL's thread has it, and the next batch gathers meanwhile. Either way nothing that a
batch lets raft answer leaves before the batch is durable, nor does a candidate's request for votes. A leader's messages
promise nothing, so they leave before its own write: the others write at the same time.

That a change of the members is committed is durable here before anybody hears of it or it is applied. Who is removed by
it votes no more, and of two members the other one, should it forget in a crash, could never again be elected.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from quorate.api.raftpb import ConfChange, Entry, EntryType, HardState, Message, MessageType, Snapshot
from quorate.raft import (
    LOCAL_APPEND_THREAD,
    LOCAL_APPLY_THREAD,
    LocalMessage,
    MemoryStorage,
    PeerNotFound,
    ProposalDropped,
    RawNode,
    ReadState,
)
from quorate.server.slow import SlowRequests
from quorate.storage.wal import WalSnapshot, WalWriter

COMMIT_STEP = 100
"""Entries by which the commit index on disk may lag behind."""

_TELL_COMMIT = frozenset({MessageType.APP, MessageType.HEARTBEAT})

Apply = Callable[[Sequence[Entry]], None]
Send = Callable[[Sequence[Message]], None]


class RaftLoop:
    """Drives one RawNode on one event loop.

    `send(messages)` takes what goes to other members, `install(snapshot)` replaces the applied state by one that a
    leader has sent, which is on this disk already.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        node: RawNode,
        storage: MemoryStorage,
        writer: WalWriter,
        *,
        apply: Apply,
        send: Send,
        install: Callable[[Snapshot], None],
        before_turn: Callable[[], None],
        confirmed: Callable[[ReadState], None],
        led_by: Callable[[int], None],
        dropped: Callable[[Sequence[bytes]], None],
        fail: Callable[[BaseException], None],
        slow: SlowRequests,
    ) -> None:
        self.node = node
        self.storage = storage
        self._loop = loop
        self._writer = writer
        self._apply = apply
        self._send = send
        self._install = install
        self._before_turn = before_turn
        self._confirmed = confirmed
        self._led_by = led_by
        self._dropped = dropped
        self._slow = slow
        self.turn_ended: Callable[[], None] = _nothing
        """Called when everything that a turn had to answer is answered."""
        self._received: list[Message] = []
        self._proposed: list[bytes] = []
        """To be proposed in the next turn; kept for as long as there is no leader."""
        self._change = 0
        """Index of a change of the members of which nobody may hear yet; 0 for none."""
        self._held: list[Message] = []
        """What is to be applied from there on."""
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

    def propose(self, *data: bytes) -> None:
        """Have `data` proposed in the next turn, with everything else that came in."""
        self._proposed += data
        self.poke()

    def propose_now(self, data: bytes) -> None:
        """Have `data` proposed by whoever leads at this very moment. Raises ProposalDropped."""
        self.node.propose(data)
        self.poke()

    def withdraw(self, data: bytes) -> bool:
        """Forget `data` if it still waits for a leader; True if it did."""
        if data not in self._proposed:
            return False
        self._proposed.remove(data)
        return True

    def propose_conf_change(self, change: ConfChange) -> None:
        """Ask for a change of the configuration. Raises ProposalDropped."""
        self.node.propose_conf_change(change)
        self.poke()

    def receive(self, message: Message) -> None:
        """A message of another member, for the next turn."""
        if not self._stopped:
            self._received.append(message)
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
            self._step_received()
            self._before_turn()
            self._propose_all()
            self._agree_alone()
            while self.node.has_ready():
                self._handle_ready()
            self.turn_ended()
            self._writer.give_way()
        except Exception as err:
            self._fail(err)

    def _step_received(self) -> None:
        """Messages are lost at times; one that raft cannot use is as good as lost, and its sender finds that out."""
        if self._received:
            received, self._received = self._received, []
            for message in received:
                try:
                    self.node.step(message)
                except (LocalMessage, PeerNotFound, ProposalDropped):
                    continue

    def _propose_all(self) -> None:
        if self._proposed and self.node.raft.lead:
            batch, self._proposed = self._proposed, []
            try:
                self.node.propose_many(batch)
            except ProposalDropped:
                self._dropped(batch)

    def _agree_alone(self) -> None:
        """In a cluster of one with a quick disk: write what was proposed and apply it, without a Ready."""
        if self._in_flight or self._change:
            return
        entries = self.node.entries_alone()
        if not entries:
            return
        state = self._due_state(None)
        begun = time.monotonic()
        if not self._writer.save_now(state, entries):
            self._unsaved = state or self._unsaved
            return
        self._saved = state or self._saved
        self._saved_now(entries, state, (), begun)
        self.node.saved_alone(entries)
        self._unsaved = self.node.hard_state()
        self._apply(entries)
        self.node.applied_alone(entries)

    def _handle_ready(self) -> None:
        ready = self.node.ready()
        if ready.soft_state is not None:
            self._led_by(ready.soft_state.lead)
        if ready.hard_state is not None and ready.hard_state.term != self._saved.term:
            _ask_when_durable(ready.messages)
        own = [message for message in ready.messages if message.to >= LOCAL_APPLY_THREAD]
        for message in own:
            if message.to == LOCAL_APPLY_THREAD and not self._change:
                self._keep_commit(message.entries)
        if len(own) < len(ready.messages):
            others = [message for message in ready.messages if message.to < LOCAL_APPLY_THREAD]
            self._send(others if not self._change else [_silent(message, self._change) for message in others])
        for message in own:
            if message.to == LOCAL_APPEND_THREAD:
                self._append(message)
            else:
                self._apply_or_hold(message)
        for state in ready.read_states:
            self._confirmed(state)

    def _keep_commit(self, entries: Sequence[Entry]) -> None:
        """Have the commit index durable if there is a change of the members among `entries`, which are committed."""
        change = next((entry.index for entry in entries if entry.type != EntryType.NORMAL), 0)
        if not change or self._saved.commit >= entries[-1].index:
            return
        state = self._saved = self._saved._replace(commit=entries[-1].index)
        if self._unsaved is not None and self._unsaved.commit <= state.commit:
            self._unsaved = None
        if not self._in_flight and self._writer.save_now(state, (), sync=True):
            self.storage.set_hard_state(state)
            return
        self._change = change
        self._in_flight += 1
        self._writer.submit(state, (), None, partial(self._from_thread, partial(self._kept, state)), sync=True)

    def _kept(self, state: HardState) -> None:
        self.storage.set_hard_state(state)
        self._change = 0
        held, self._held = self._held, []
        for message in held:
            if not self._change:
                self._keep_commit(message.entries)
            self._apply_or_hold(message)
        self._turn()

    def _apply_or_hold(self, message: Message) -> None:
        if self._change:
            self._held.append(message)
        else:
            self._apply(message.entries)
            self._step_all(message.responses)

    def _append(self, message: Message) -> None:
        """Have a batch saved; its responses are stepped, or sent to others, when it is durable."""
        assert message.type == MessageType.STORAGE_APPEND
        state: HardState | None = HardState(message.term, message.vote, message.commit)
        if state == HardState():
            state = None
        responses = message.responses
        if message.snapshot is not None:
            self._append_snapshot(message.snapshot, state, message)
            return
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
        begun = time.monotonic()
        if not self._in_flight and self._writer.save_now(state, message.entries):
            self._saved_now(message.entries, state, responses, begun)
            return
        done = partial(self._appended, message.entries, state, responses, begun)
        self._in_flight += 1
        self._writer.submit(state, message.entries, None, partial(self._from_thread, done))

    def _append_snapshot(self, snapshot: Snapshot, state: HardState | None, message: Message) -> None:
        """Record a leader's snapshot in the log, then let it replace what is applied. Its database is on disk already;
        a crash between the two is mended at the next start, which finds it there."""
        self._unsaved = None
        self._confirmation = None
        self._saved = state = (state or self._saved)._replace(commit=max(snapshot.index, (state or self._saved).commit))
        mark = WalSnapshot(snapshot.index, snapshot.term, snapshot.conf_state, replaces_log=True)
        entries, begun = message.entries, time.monotonic()

        def saved() -> None:
            self._install(snapshot)
            self.storage.apply_snapshot(snapshot)
            self._appended((), state, () if entries else message.responses, begun)

        self._in_flight += 1
        self._writer.submit(state, (), mark, partial(self._from_thread, saved))
        if entries:
            # Not in one batch: the log counts as replaced only when the state stands right behind the snapshot.
            appended = partial(self._appended, entries, None, message.responses, begun)
            self._in_flight += 1
            self._writer.submit(None, entries, None, partial(self._from_thread, appended))

    def _due_state(self, state: HardState | None) -> HardState | None:
        """A commit index goes along with a batch now and then. It only spares a restart some waiting."""
        newest, self._unsaved = state or self._unsaved, None
        if newest is None or newest.commit - self._saved.commit >= COMMIT_STEP:
            return newest
        self._unsaved = newest
        return None

    def _only_commits(self, state: HardState) -> bool:
        return state.term == self._saved.term and state.vote == self._saved.vote

    def _appended(
        self, entries: Sequence[Entry], state: HardState | None, responses: Sequence[Message], begun: float
    ) -> None:
        """The thread says that a batch is durable."""
        self._saved_now(entries, state, responses, begun)
        self._turn()

    def _saved_now(
        self, entries: Sequence[Entry], state: HardState | None, responses: Sequence[Message], begun: float
    ) -> None:
        """A batch is durable that was begun to be written at `begun`, in monotonic seconds."""
        if entries:
            self._slow.saved(entries[-1].index, begun, time.monotonic())
        if state is not None:
            self.storage.set_hard_state(state)
        self.storage.append(entries)
        self._step_all(responses)

    def _step_all(self, responses: Sequence[Message]) -> None:
        own_id = self.node.raft.id
        if any(response.to != own_id for response in responses):
            self._send(_newest_answers([response for response in responses if response.to != own_id]))
        for response in responses:
            if response.to == own_id:
                try:
                    self.node.step(response)
                except PeerNotFound:
                    continue  # a leader that has removed itself counts no more

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


def _silent(message: Message, change: int) -> Message:
    """`message` without a word of what is committed from `change` on."""
    return replace(message, commit=min(message.commit, change - 1)) if message.type in _TELL_COMMIT else message


def _ask_when_durable(messages: list[Message]) -> None:
    """Let a candidate's requests for votes wait for its own term, vote and log to be durable, as its answers do.

    With the votes of others alone it could lead before. If it stopped then, it would begin again in the term before,
    ask for the same votes with a shorter log, and lead twice in one term (Raft thesis §3.8).
    """
    requests = [message for message in messages if message.type == MessageType.VOTE]
    if requests:
        messages[:] = [message for message in messages if message.type != MessageType.VOTE]
        append = next(message for message in messages if message.type == MessageType.STORAGE_APPEND)
        append.responses = [*requests, *append.responses]


def _newest_answers(messages: list[Message]) -> list[Message]:
    """Of several plain acknowledgements of appended entries to one leader the last one says it all."""
    if len(messages) == 1:
        return messages
    newest = {m.to: m for m in messages if m.type == MessageType.APP_RESP and not m.reject}
    return [m for m in messages if m.type != MessageType.APP_RESP or m.reject or m is newest[m.to]]


def _nothing() -> None:
    """Nobody wants to know."""
