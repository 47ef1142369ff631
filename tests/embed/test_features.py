"""Feature gates: etcd's names, words and rules."""

from __future__ import annotations

import pytest

from quorate.embed import Config, ConfigError
from quorate.embed.features import GATES, Gates, parse_gates


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Foo=true", "unrecognized feature gate: Foo"),
        (
            "CompactHashCheck=maybe",
            'invalid value of CompactHashCheck=maybe, err: strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ("CompactHashCheck", "missing bool value for CompactHashCheck"),
    ],
)
def test_a_gate_that_is_none_is_refused_in_etcds_words(text: str, words: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse_gates(text)
    assert str(caught.value) == words


def test_a_group_is_for_all_gates_of_its_stage_that_are_not_named() -> None:
    gates = Gates(parse_gates("AllAlpha=false, CompactHashCheck=1 ,FastLeaseKeepAlive=f"))
    assert [name for name in GATES if gates.enabled(name)] == ["CompactHashCheck", "TxnModeWriteWithSharedBuffer"]
    assert [name for name in GATES if Gates({}).said(name) is not None] == []


def test_notes_of_leases_that_nobody_makes_cannot_be_kept() -> None:
    with pytest.raises(ConfigError, match=r"^enabling feature gate LeaseCheckpointPersist requires enabling feature"):
        Config(feature_gates=parse_gates("LeaseCheckpointPersist=true,LeaseCheckpoint=false")).check()


def test_gates_reach_the_server() -> None:
    made = Config(initial_corrupt_check=True).server_config()
    assert (made.compact_hash_check, made.initial_corrupt_check, made.lease_checkpoints) == (True, True, True)
    assert (made.not_serving_on_defrag, made.priority_requests, made.peer_local_address) == (False, False, "")
    said = (
        "CompactHashCheck=false,InitialCorruptCheck=false,LeaseCheckpoint=false,StopGRPCServiceOnDefrag=true,"
        "PriorityRequest=true,SetMemberLocalAddr=true"
    )
    urls = ["http://127.0.0.1:2380", "http://192.0.2.7:2380", "http://name:2380"]
    made = Config(
        initial_corrupt_check=True,
        initial_advertise_peer_urls=urls,
        initial_cluster=",".join(f"default={url}" for url in urls),
        feature_gates=parse_gates(said),
    ).server_config()
    assert (made.compact_hash_check, made.initial_corrupt_check, made.lease_checkpoints) == (False, False, False)
    assert (made.not_serving_on_defrag, made.priority_requests) == (True, True)
    assert made.peer_local_address == "192.0.2.7"
