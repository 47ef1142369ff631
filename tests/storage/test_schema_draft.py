"""A draft reads as its source with the changes made, whatever they are."""

from __future__ import annotations

import random

import pytest
from mvcc_support import MemoryRows

from quorate.storage import schema
from quorate.storage.schema import KEY, META, Draft, NoRows


@pytest.mark.parametrize("seed", range(30))
def test_a_draft_reads_as_its_source_with_the_changes_made(seed: int) -> None:
    dice = random.Random(seed)
    source, model = MemoryRows(), MemoryRows()
    for _ in range(dice.randrange(40)):
        key, value = bytes([dice.randrange(1, 60)]), dice.randbytes(2)
        source.put(KEY, key, value)
        model.put(KEY, key, value)
    draft = Draft(source)
    for _ in range(dice.randrange(40)):
        key, value = bytes([dice.randrange(1, 60)]), dice.randbytes(2)
        if dice.random() < 0.4:
            draft.delete(KEY, key)
            model.delete(KEY, key)
        else:
            draft.put(KEY, key, value)
            model.put(KEY, key, value)
    for _ in range(20):
        start = dice.choice([b"", bytes([dice.randrange(1, 60)])])
        end = dice.choice([None, bytes([dice.randrange(1, 60)])])
        limit = dice.choice([0, 1, 5])
        expected = list(model.scan(KEY, start, end, limit)) if end is None or start < end else []
        assert list(draft.scan(KEY, start, end, limit)) == expected
    assert list(draft.rows()) == [(KEY, key, value) for key, value in model.scan(KEY)]
    for number in range(1, 60):
        assert draft.get(KEY, bytes([number])) == model.get(KEY, bytes([number]))


def test_clearing_a_bucket_leaves_the_others_and_the_source_alone() -> None:
    source = MemoryRows()
    schema.put_member(source, schema.MemberRecord(7))
    schema.put_applied(source, 3, 2)
    draft = Draft(source)
    schema.put_member(draft, schema.MemberRecord(8))
    draft.clear(schema.MEMBERS)
    schema.put_member(draft, schema.MemberRecord(9))
    assert [member.id for member in schema.members(draft)] == [9]
    assert [member.id for member in schema.members(source)] == [7]
    assert schema.get_applied(draft) == (3, 2)


def test_a_draft_over_nothing_holds_what_was_put() -> None:
    draft = Draft(NoRows())
    schema.put_applied(draft, 3, 2)
    assert [(bucket, key) for bucket, key, _ in draft.rows()] == [(META, b"consistent_index"), (META, b"term")]
