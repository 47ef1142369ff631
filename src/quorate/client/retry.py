"""When a call is tried again, and after how long.

never sent                      any call, at another member
token refused, users changed    any call, with a new token: nothing has happened
no answer, no leader            only what may be done twice: reads and the like
anything else                   never
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from random import Random
from typing import ClassVar

from quorate.api import errors
from quorate.api.errors import Code
from quorate.transport.grpc import Status

NOT_SENT = ("Error while dialing", "the server takes no calls", "authentication handshake failed")
TOKEN_ERRORS = frozenset({errors.InvalidAuthToken.text, errors.AuthOldRevision.text, errors.UserEmpty.text})
OLD_TOKEN = frozenset({"auth: revision in header is old", "auth: invalid auth token", "auth: user name is empty"})
"""As 3.5 says it."""


class Cause(Enum):
    """Why a call failed, as far as trying again goes."""

    NOT_SENT = 1
    TOKEN = 2
    UNKNOWN_OUTCOME = 3
    """The member or its leader may be away; it may have been done."""
    FINAL = 4


def cause_of(status: Status) -> Cause:
    text = status.message
    if text in TOKEN_ERRORS or text in OLD_TOKEN:
        return Cause.TOKEN
    if status.code == Code.UNAVAILABLE:
        return Cause.NOT_SENT if any(words in text for words in NOT_SENT) else Cause.UNKNOWN_OUTCOME
    if status.code == Code.DEADLINE_EXCEEDED or text == errors.NotSupportedForLearner.text:
        return Cause.UNKNOWN_OUTCOME
    return Cause.FINAL


@dataclass(frozen=True, slots=True)
class Retry:
    """How often a call is tried at most, and how long to wait before: `first` seconds, each time twice as long, up to
    `most`, less a random part of up to `jitter` (0 to 1). The deadline of the call ends it in any case."""

    attempts: int = 1_000
    first: float = 0.02
    most: float = 1.0
    jitter: float = 0.5

    NEVER: ClassVar[Retry]

    def pause(self, failures: int, dice: Random) -> float:
        """Seconds to leave a member alone that has failed so many times in a row."""
        longest = min(self.most, self.first * 2.0 ** min(failures - 1, 30))
        return longest * (1.0 - self.jitter * dice.random())


Retry.NEVER = Retry(attempts=1)
