"""What goes wrong: one fault after the other, each held for a while and then undone. A seed decides all of it."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.cluster import Cluster, wait_for
from quorate.transport.grpc import Status

HOLD_SECONDS = (0.2, 2.5)
REST_SECONDS = (0.1, 1.0)
RECOVERY_SECONDS = 30.0
TRY_SECONDS = 0.1
"""A put that waits for a leader is given up after this, and sent again: it may have been lost with the old one."""

KINDS = (
    "kill leader",
    "kill some",
    "kill all",
    "stop one",
    "pause leader",
    "pause some",
    "isolate leader",
    "isolate some",
    "cut one way",
    "split with a bridge",
    "move leader",
)


class Faults:
    """Does one fault at a time to a proxied cluster. `done` tells what was done, with seconds since the start."""

    def __init__(self, cluster: Cluster, dice: random.Random, kinds: Sequence[str] = KINDS) -> None:
        self.done: list[str] = []
        self._cluster = cluster
        self._dice = dice
        self._kinds = kinds
        self._deck: list[str] = []
        self._begun = time.monotonic()

    def one(self) -> None:
        """Do, hold, undo, and wait until every member serves again. Raises TimeoutError when one does not."""
        if not self._deck:  # every kind comes before any comes again
            self._deck = self._dice.sample(self._kinds, len(self._kinds))
        kind = self._deck.pop()
        hold = self._dice.uniform(*HOLD_SECONDS)
        doings: dict[str, Callable[[], Callable[[], None]]] = {
            "kill leader": lambda: self._kill([self._leader()]),
            "kill some": lambda: self._kill(self._minority()),
            "kill all": lambda: self._kill(self._cluster.running()),
            "stop one": lambda: self._stop(self._dice.choice(self._cluster.running())),
            "pause leader": lambda: self._pause([self._leader()]),
            "pause some": lambda: self._pause(self._minority()),
            "isolate leader": lambda: self._isolate([self._leader()]),
            "isolate some": lambda: self._isolate(self._minority()),
            "cut one way": self._cut_one_way,
            "split with a bridge": self._bridge,
            "move leader": self._move,
        }
        self._say(f"{kind}, for {hold:.1f} s")
        undo = doings[kind]()
        time.sleep(hold)
        undo()
        self._cluster.wait_healthy(RECOVERY_SECONDS)
        self._say("healthy")
        time.sleep(self._dice.uniform(*REST_SECONDS))

    def _say(self, text: str) -> None:
        self.done.append(f"{time.monotonic() - self._begun:6.1f} {text}")

    def _leader(self) -> int:
        return self._cluster.leader(RECOVERY_SECONDS)

    def _minority(self) -> list[int]:
        running = self._cluster.running()
        return self._dice.sample(running, self._dice.randint(1, (len(running) - 1) // 2))

    def _kill(self, numbers: Sequence[int]) -> Callable[[], None]:
        self._say(f"kill {numbers}")
        for number in numbers:
            self._cluster.kill(number)
        return lambda: self._start(numbers)

    def _stop(self, number: int) -> Callable[[], None]:
        self._say(f"stop {number}")
        self._cluster.stop(number)
        return lambda: self._start([number])

    def _start(self, numbers: Sequence[int]) -> None:
        for number in numbers:
            self._cluster.spawn(number)
        for number in numbers:
            self._cluster.members[number].wait_ready(RECOVERY_SECONDS)

    def _pause(self, numbers: Sequence[int]) -> Callable[[], None]:
        self._say(f"pause {numbers}")
        for number in numbers:
            self._cluster.members[number].pause()

        def undo() -> None:
            for number in numbers:
                self._cluster.members[number].resume()

        return undo

    def _isolate(self, numbers: Sequence[int]) -> Callable[[], None]:
        self._say(f"isolate {numbers}")
        self._cluster.isolate(numbers)
        return self._cluster.heal

    def _cut_one_way(self) -> Callable[[], None]:
        """One member is heard but hears nothing, or the other way round."""
        one = self._dice.choice(self._cluster.running())
        others = [number for number in self._cluster.running() if number != one]
        deaf = self._dice.random() < 0.5
        self._say(f"{one} is {'deaf' if deaf else 'dumb'}")
        self._cluster.cut([(other, one) if deaf else (one, other) for other in others])
        return self._cluster.heal

    def _bridge(self) -> Callable[[], None]:
        """Two sides that only one member sees both of."""
        shuffled = self._dice.sample(self._cluster.running(), len(self._cluster.running()))
        half = len(shuffled) // 2
        left, right = shuffled[:half], shuffled[half + 1 :]
        self._say(f"{left} and {right} see each other through {shuffled[half]} only")
        self._cluster.cut(pair for a, b in itertools.product(left, right) for pair in ((a, b), (b, a)))
        return self._cluster.heal

    def _move(self) -> Callable[[], None]:
        target = self._dice.choice(self._cluster.followers())
        self._say(f"leadership to {target}")
        self._cluster.move_leader(target, RECOVERY_SECONDS)
        return lambda: None


def failover_seconds(cluster: Cluster, number: int = 0) -> float:
    """Kill the leader; seconds until the others have acknowledged a put. The killed one is started again."""
    leader = cluster.leader()
    others = [n for n in cluster.running() if n != leader]
    begun = time.monotonic()
    cluster.kill(leader)

    def put() -> bool:
        for n in others:
            try:
                cluster.ask(n, pb.PutRequest(key=b"failover", value=b"%d" % number), TRY_SECONDS)
            except Status:
                continue
            return True
        return False

    wait_for(put, RECOVERY_SECONDS, "nobody takes a put after the leader is gone")
    seconds = time.monotonic() - begun
    cluster.restart(leader)
    cluster.wait_healthy()
    return seconds
