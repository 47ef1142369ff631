"""The room as a whole: what it may import, what it prints, and that its invariants notice faults."""

import ast
from pathlib import Path

import pytest
from raft_nodes import lead, make, run

import quorate.raft
from quorate.api.raftpb import (
    ConfChange,
    ConfChangeSingle,
    ConfChangeType,
    ConfChangeV2,
    Entry,
    EntryType,
    Message,
    MessageType,
)
from quorate.raft import ReadState, Ready, describe
from quorate.raft.config import LOCAL_APPEND_THREAD
from quorate.raft.invariants import Ledger, check, check_step, view
from quorate.raft.role import Role

FOLDER = Path(quorate.raft.__file__).parent
ALLOWED = {"__future__", "collections", "collections.abc", "dataclasses", "enum", "typing"}
T = MessageType


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_the_machine_imports_neither_clock_nor_dice_nor_wires(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            assert name in ALLOWED or name.split(".")[:2] in (["quorate", "api"], ["quorate", "raft"]), name
        assert not isinstance(node, ast.AsyncFunctionDef)


def test_data_is_quoted() -> None:
    assert describe.quoted(b'a"b\\c\n\x00\xff\xc3\xa9') == r'"a\"b\\c\n\x00\xffé"'


def test_messages_to_the_own_storage_are_told_with_their_responses() -> None:
    inner = Message(T.APP_RESP, to=2, from_=10, term=1, index=3)
    two = [Entry(1, 2, b"a"), Entry(1, 3)]
    message = Message(
        T.STORAGE_APPEND, to=LOCAL_APPEND_THREAD, from_=10, term=1, vote=2, entries=two, responses=[inner]
    )
    assert describe.message(message) == (
        "a->AppendThread MsgStorageAppend Term:1 Log:0/0 Vote:2 Entries:[\n"
        '  1/2 EntryNormal "a"\n'
        '  1/3 EntryNormal ""\n'
        "] Responses:[\n"
        "  a->2 MsgAppResp Term:1 Log:0/3\n"
        "]"
    )


def test_a_ready_tells_its_reads() -> None:
    assert describe.ready(Ready()) == "<empty Ready>"
    assert (
        describe.ready(Ready(read_states=[ReadState(5, b"ab")])) == "Ready MustSync=false:\nReadStates [{5 [97 98]}]\n"
    )


def test_changes_are_told_shortly_and_in_full() -> None:
    singles = [ConfChangeSingle(kind, kind + 1) for kind in ConfChangeType]
    assert describe.changes(singles) == "v1 r2 u3 l4"
    assert describe.conf_change(ConfChangeV2(tuple(singles[:2]), context=b"c")) == (
        "transition:ConfChangeTransitionAuto changes:{type:ConfChangeAddNode node_id:1} "
        'changes:{type:ConfChangeRemoveNode node_id:2} context:"c"'
    )
    assert describe.conf_change(ConfChange(ConfChangeType.UPDATE_NODE, 3, b"", 7)) == (
        "id:7 type:ConfChangeUpdateNode node_id:3"
    )
    assert describe.entry(Entry(1, 2, b"", EntryType.CONF_CHANGE_V2)) == "1/2 EntryConfChangeV2"


def test_the_invariants_notice_what_must_not_be() -> None:
    node = make(1, 1, 1)
    lead(node)
    raft = node.raft
    check(raft)
    before = view(raft)

    raft.log.applied += 5
    with pytest.raises(AssertionError):
        check(raft)
    raft.log.applied -= 5

    raft.tracker.progress[2].match = 99
    with pytest.raises(AssertionError):
        check(raft)
    raft.tracker.progress[2].match = 0

    raft.vote = 2
    with pytest.raises(AssertionError, match="voted for itself"):
        check(raft)
    with pytest.raises(AssertionError, match="the vote changed"):
        check_step(before, view(raft))
    with pytest.raises(AssertionError, match="the term went back"):
        check_step(before, before._replace(term=1))
    with pytest.raises(AssertionError, match="two leaders"):
        check_step(before, before._replace(lead=2))
    with pytest.raises(AssertionError, match="without an election"):
        check_step(before._replace(role=Role.FOLLOWER), before)
    with pytest.raises(AssertionError, match="cut its own log"):
        check_step(before, before._replace(last_index=1))


def test_the_ledger_notices_two_leaders_and_two_truths() -> None:
    one, other = make(1, 1), make(2, 1)
    lead(one)
    ledger = Ledger()
    ledger.observe(one.raft)
    lead(other)
    with pytest.raises(AssertionError, match="election safety"):
        ledger.observe(other.raft)

    first, second = make(1), make(2)
    for node, data in ((first, b"a"), (second, b"b")):
        append = Message(T.APP, from_=3, term=2, index=1, log_term=1, entries=[Entry(2, 2, data)], commit=2)
        node.step(append)
        run(node)
    ledger = Ledger()
    ledger.observe(first.raft)
    with pytest.raises(AssertionError, match="state machine safety"):
        ledger.observe(second.raft)
