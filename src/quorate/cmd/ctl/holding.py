"""To hold something until a signal comes: SIGINT and SIGTERM end the waiting, not the program."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

from quorate.cmd.ctl.failures import ERROR, Fail

if TYPE_CHECKING:
    from quorate.cmd.ctl.queueing import Session

LOOK_SECONDS = 0.25


class Signalled(BaseException):
    """A signal has come that asks to end."""


def end_by_signals() -> None:
    """From now on SIGINT and SIGTERM raise Signalled in the main thread, the first of them."""

    def end(_number: int, _frame: Any) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        raise Signalled

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


def hold(session: Session) -> None:
    """Wait until a signal comes. Raises Fail when the lease is lost before."""
    while not session.lost.wait(LOOK_SECONDS):
        pass
    raise Fail(ERROR, "session expired")
