"""A blocking call on its own thread, seen as a job in bites."""

from __future__ import annotations

import threading

import pytest

from quorate.pkg.aside import aside


def test_the_job_yields_until_the_call_has_ended() -> None:
    gate = threading.Event()
    ran_on: list[int] = []

    def call() -> None:
        gate.wait(10)
        ran_on.append(threading.get_ident())

    job = aside(call)
    for _ in range(5):
        next(job)
    assert not ran_on
    gate.set()
    for _ in job:
        pass
    assert ran_on and ran_on[0] != threading.get_ident()


def test_what_the_call_raises_is_raised_by_the_job() -> None:
    def call() -> None:
        raise OSError(28, "no space left on device")

    with pytest.raises(OSError, match="no space left"):
        for _ in aside(call):
            pass


def test_a_job_that_is_closed_waits_for_the_call() -> None:
    gate = threading.Event()
    ended = threading.Event()

    def call() -> None:
        gate.wait(10)
        ended.set()

    job = aside(call)
    next(job)
    threading.Timer(0.02, gate.set).start()
    job.close()
    assert ended.is_set()
