"""Going on alone when the other members are lost for good (--force-new-cluster).

Entries that nobody else can confirm any more count as committed: some of them may have been acknowledged. Then the
others are removed, by entries of the log like any removal.
"""

from __future__ import annotations

from collections.abc import Iterable

from quorate.api.raftpb import (
    ConfChange,
    ConfChangeType,
    ConfState,
    Entry,
    EntryType,
    decode_conf_change,
    encode_conf_change,
)
from quorate.membership import Member, conf_change_context
from quorate.pkg.jsonlog import get_log
from quorate.raft import MemoryStorage
from quorate.storage.wal import WAL

log = get_log(__name__)


def alone(
    storage: MemoryStorage, conf_state: ConfState, applied: int, opened: WAL, own_id: int, peer_urls: Iterable[str]
) -> None:
    """Append to the log, committed, what makes `own_id` the only member; `conf_state` is that at entry `applied`."""
    state, _ = storage.initial_state()
    last = storage.last_index()
    waiting = storage.entries(applied + 1, last + 1, 2**63) if last > applied else []
    voters, learners = _members(conf_state, waiting)
    changes = [
        ConfChange(ConfChangeType.REMOVE_NODE, number) for number in sorted(voters | learners) if number != own_id
    ]
    if own_id in learners:
        context = conf_change_context(Member(own_id), is_promote=True)
        changes.insert(0, ConfChange(ConfChangeType.ADD_NODE, own_id, context))
    elif own_id not in voters:
        context = conf_change_context(Member(own_id, tuple(sorted(peer_urls))))
        changes.insert(0, ConfChange(ConfChangeType.ADD_NODE, own_id, context))
    entries = [
        Entry(state.term, index, encode_conf_change(change), EntryType.CONF_CHANGE)
        for index, change in enumerate(changes, last + 1)
    ]
    state = state._replace(commit=last + len(entries))
    opened.save(state, entries)
    storage.append(entries)
    storage.set_hard_state(state)
    log.warn("forcing a new cluster of this member alone", local_member_id=f"{own_id:x}", removed=len(changes))


def _members(conf_state: ConfState, entries: Iterable[Entry]) -> tuple[set[int], set[int]]:
    """Voters and learners once `entries` are applied."""
    voters, learners = set(conf_state.voters), set(conf_state.learners)
    for entry in entries:
        if entry.type != EntryType.CONF_CHANGE:
            continue
        change = decode_conf_change(entry.data)
        if change.type != ConfChangeType.UPDATE_NODE:
            voters.discard(change.node_id)
            learners.discard(change.node_id)
        if change.type == ConfChangeType.ADD_NODE:
            voters.add(change.node_id)
        elif change.type == ConfChangeType.ADD_LEARNER_NODE:
            learners.add(change.node_id)
    return voters, learners
