"""`--feature-gates`: names, stages, defaults and rules of etcd's, and what each gate means to a member here.

CompactHashCheck              compare the hashes that compactions leave: on, unless a gate says otherwise
InitialCorruptCheck           compare hashes before serving
LeaseCheckpoint               note the time left of long leases in the log: on, unless a gate says otherwise
LeaseCheckpointPersist        notes are always kept: on wherever LeaseCheckpoint is
SetMemberLocalAddr            call other members from the advertised address
StopGRPCServiceOnDefrag       the gRPC health service says NOT_SERVING during a defragmentation
PriorityRequest               requests that free things are taken when others are already turned away
TxnModeWriteWithSharedBuffer, FastLeaseKeepAlive    either way the same: there is but one way here
AllAlpha, AllBeta             all gates of that stage that are not named themselves
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from quorate.embed.errors import ConfigError

ALPHA, BETA = "alpha", "beta"


class Gate(NamedTuple):
    """`default` is etcd's; `here` is this member's where it is another one."""

    stage: str
    default: bool
    here: bool


GATES: dict[str, Gate] = {
    "CompactHashCheck": Gate(ALPHA, False, True),
    "InitialCorruptCheck": Gate(ALPHA, False, False),
    "LeaseCheckpoint": Gate(ALPHA, False, True),
    "LeaseCheckpointPersist": Gate(ALPHA, False, True),
    "SetMemberLocalAddr": Gate(ALPHA, False, False),
    "StopGRPCServiceOnDefrag": Gate(ALPHA, False, False),
    "TxnModeWriteWithSharedBuffer": Gate(BETA, True, True),
    "FastLeaseKeepAlive": Gate(BETA, True, True),
    "PriorityRequest": Gate(ALPHA, False, False),
}
GROUPS = {"AllAlpha": ALPHA, "AllBeta": BETA}

ONE_WAY = ("LeaseCheckpointPersist", "TxnModeWriteWithSharedBuffer", "FastLeaseKeepAlive")
"""Gates between two ways of etcd's to do one thing, of which there is one here, that of `true`."""

_TRUE = ("1", "t", "T", "TRUE", "true", "True")
_FALSE = ("0", "f", "F", "FALSE", "false", "False")


def parse_gates(text: str) -> dict[str, bool]:
    """`Name=bool,...` as a dict. Raises ValueError in etcd's words."""
    found: dict[str, bool] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, equals, value = (part.strip() for part in item.partition("="))
        if not equals:
            raise ValueError(f"missing bool value for {name}")
        if value not in _TRUE + _FALSE:
            raise ValueError(
                f'invalid value of {name}={value}, err: strconv.ParseBool: parsing "{value}": invalid syntax'
            )
        if name not in GATES and name not in GROUPS:
            raise ValueError(f"unrecognized feature gate: {name}")
        found[name] = value in _TRUE
    return found


def show_gates(gates: Mapping[str, bool]) -> str:
    """As `parse_gates` takes them."""
    return ",".join(f"{name}={str(value).lower()}" for name, value in gates.items())


class Gates:
    """What gates say, `AllAlpha` and `AllBeta` spelled out. Raises ConfigError for gates that exclude each other."""

    def __init__(self, given: Mapping[str, bool]) -> None:
        self._set = dict(given)
        for group, stage in GROUPS.items():
            if group in given:
                own = {name: given[group] for name, gate in GATES.items() if gate.stage == stage}
                self._set = {**own, **self._set}
        if self._set.get("LeaseCheckpointPersist") and not self.enabled("LeaseCheckpoint"):
            raise ConfigError(
                "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint"
            )

    def enabled(self, name: str) -> bool:
        return self._set.get(name, GATES[name].here)

    def said(self, name: str) -> bool | None:
        """None where nothing was said."""
        return self._set.get(name)
