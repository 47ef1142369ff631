"""The members that a gateway carries connections to: whose turn it is, and who is set aside.

working, of the best priority ──► in turn, or by weight where weights are given
failed ──► set aside ──► every `retry_delay` seconds one connection is tried; it stands ──► working again
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import NamedTuple


class Target(NamedTuple):
    """An address, with the priority and weight of its DNS record: the lowest priority first, more weight more often."""

    host: str
    port: int
    priority: int = 0
    weight: int = 0

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(slots=True)
class Remote:
    """A target and whether connections to it are made."""

    target: Target
    works: bool = True


class Remotes:
    """All targets of one gateway."""

    def __init__(self, targets: Sequence[Target], dice: Random) -> None:
        """Raises ValueError for no targets."""
        if not targets:
            raise ValueError("no endpoints found")
        self.all = [Remote(target) for target in targets]
        self._dice = dice
        self._turn = 0

    def pick(self) -> Remote | None:
        """Who gets the next connection; None when all are set aside."""
        working = [remote for remote in self.all if remote.works]
        if not working:
            return None
        best = min(remote.target.priority for remote in working)
        first = [remote for remote in working if remote.target.priority == best]
        weights = [remote.target.weight for remote in first]
        if any(weights):
            return self._dice.choices(first, weights)[0]
        self._turn += 1
        return first[self._turn % len(first)]

    def set_aside(self) -> list[Remote]:
        """Those that are to be tried again."""
        return [remote for remote in self.all if not remote.works]
