"""Ports for the members of clusters."""

from __future__ import annotations

from quorate.testing.process import free_port


def test_no_port_is_given_twice_while_it_may_still_be_unbound() -> None:
    given = [free_port() for _ in range(500)]
    assert len(set(given)) == len(given)
