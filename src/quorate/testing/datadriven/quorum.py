"""Scripts about majorities: what is committed, who has won."""

from __future__ import annotations

from quorate.raft.quorum import EVERYTHING, Vote, committed_index, joint_vote, majority_index, majority_vote
from quorate.testing.datadriven.script import Command, ScriptError

VOTES = {"y": True, "n": False}
VOTE_TEXTS = {Vote.PENDING: "VotePending", Vote.LOST: "VoteLost", Vote.WON: "VoteWon"}


def run(command: Command) -> str:
    """The output of `committed` and `vote`; raises ScriptError."""
    incoming = _ids(command, "cfg")
    outgoing = _ids(command, "cfgj")
    values = [value for key, given in command.options() if key in ("idx", "votes") for value in given]
    voters = list(dict.fromkeys(incoming + outgoing))
    if len(values) != len(voters):
        return f"error: mismatched input (explicit or _) for voters {_listed(sorted(voters))}: {_listed(values)}"
    known = {voter: value for voter, value in zip(voters, values, strict=True) if value != "_"}
    if command.name == "committed":
        return _committed(incoming, outgoing, {voter: int(value) for voter, value in known.items()})
    if command.name == "vote":
        return _vote(incoming, outgoing, {voter: VOTES[value] for voter, value in known.items()})
    raise ScriptError(f"line {command.line}: unknown command {command.name}")


def _ids(command: Command, key: str) -> list[int]:
    """The distinct voters of a half; `zero` stands for an empty one, which is the same as none."""
    values = [value for name, given in command.options() if name == key for value in given]
    return [] if values == ["zero"] else list(dict.fromkeys(map(int, values)))


def _committed(incoming: list[int], outgoing: list[int], acked: dict[int, int]) -> str:
    index = committed_index(incoming, outgoing, acked)
    text = table(set(incoming) | set(outgoing), acked)
    # Said in another way it must be the same.
    assert index == committed_index(outgoing, incoming, acked), "halves cannot be exchanged"
    assert index == committed_index(incoming, incoming, acked) or outgoing, "joint with itself is another quorum"
    assert majority_index([acked.get(it, 0) for it in incoming]) == _counted(incoming, acked), "majority is miscounted"
    return text + ("∞" if index == EVERYTHING else str(index)) + "\n"


def _counted(voters: list[int], acked: dict[int, int]) -> int:
    """The committed index by trying every candidate."""
    needed = len(voters) // 2 + 1
    reached = [index for index in {0, *acked.values()} if sum(acked.get(it, 0) >= index for it in voters) >= needed]
    return max(reached) if voters else EVERYTHING


def table(voters: set[int], acked: dict[int, int]) -> str:
    """Who is where. The more x the further ahead, ? is unknown, > marks where an x could still come."""
    if not voters:
        return "<empty majority quorum>"
    width = len(voters)
    order = sorted(acked.get(it, 0) for it in voters)
    lines = [" " * width + "    idx\n"]
    for voter in sorted(voters):
        index = acked.get(voter, 0)
        behind = order.index(index)
        mark = "x" * behind + ">" + " " * (width - behind) if voter in acked else "?" + " " * width
        lines.append(f"{mark} {index:>5}    (id={voter})\n")
    return "".join(lines)


def _vote(incoming: list[int], outgoing: list[int], votes: dict[int, bool]) -> str:
    result = joint_vote(incoming, outgoing, votes)
    assert result == joint_vote(outgoing, incoming, votes), "halves cannot be exchanged"
    assert outgoing or result == majority_vote(incoming, votes), "an empty half has a say"
    return VOTE_TEXTS[result] + "\n"


def _listed(values: list[int] | list[str]) -> str:
    return "[" + " ".join(map(str, values)) + "]"
