"""What goes wrong in a run. The seed draws which kinds of faults there are, how often and for how long; they overlap.
Faults are numbered, and each rolls dice of its own: one that is left out changes no other.

Drawn from fewer kinds at a time, runs go deeper than with all of everything (Groce et al., Swarm Testing, 2012).
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from quorate.api.pb import rpc_pb2 as pb
from quorate.testing.sim import crash_points
from quorate.testing.sim.clients import SimWorkload
from quorate.testing.sim.cluster import CLIENTS, SimCluster
from quorate.testing.sim.member import AT_CHANGE, Doom, Machine
from quorate.testing.sim.operator import Operator

REST_SECONDS = (0.2, 0.5, 1.0, 3.0, 8.0)
HOLD_SECONDS = (0.2, 1.0, 3.0, 10.0)
"""Averages to draw from: between two faults, and until a fault is undone."""
SHARES = (0.1, 0.2, 0.4)
"""Of all kinds of faults; a run has one of these. Some bugs show only where little else goes wrong."""
RARE = 0.4
"""How often a run that would have a fault of clocks does have it, for no lease can be judged where clocks lie."""
LATE_SECONDS = 5.0
"""After which nobody dies any more of what went wrong before the end of all faults."""
SPARE_BYTES = 20_000
STALL_SECONDS = (9.0, 15.0)
CRASH_WITHIN = 60
"""Operations of a disk, at most, until a process dies in the middle of one."""
POINT_KIND = "crash at a point"
CLOCK_KINDS = frozenset({"clock rate", "clock leap"})
Undo = Callable[[], object]


class Nemesis:
    """Begin with `start`; `stop` undoes all and lets every member run again."""

    def __init__(
        self, cluster: SimCluster, workload: SimWorkload, dice: Random, skip: frozenset[int] = frozenset()
    ) -> None:
        self._cluster = cluster
        self._workload = workload
        self._dice = dice
        self._skip = skip
        self.operator = Operator(cluster, workload, Random(f"{cluster.seed}/operator"))
        self.strikes = 0
        """Faults so far."""
        self._rest = dice.choice(REST_SECONDS)
        self._hold = dice.choice(HOLD_SECONDS)
        self._stopped = True
        self._doings: dict[str, Callable[[], Undo | None]] = {
            "crash": self._crash,
            "power loss": self._power_loss,
            "crash all": self._crash_all,
            "crash in disk": self._crash_in_disk,
            POINT_KIND: self._crash_at_point,
            "crash at a change": self._crash_at_change,
            "pause": self._pause,
            "stall the leader": self._stall_leader,
            "isolate": self._isolate,
            "depose": self._depose,
            "scatter": self._scatter,
            "cut one way": self._cut_one_way,
            "split": self._split,
            "reset": self._reset,
            "latency": self._latency,
            "loss": self._loss,
            "bandwidth": self._bandwidth,
            "echo": self._echo,
            "slow disk": self._slow_disk,
            "disk errors": self._disk_errors,
            "full disk": self._full_disk,
            "lying disk": self._lying_disk,
            "rotten log": self._rotten_log,
            "clock rate": self._clock_rate,
            "clock leap": self._clock_leap,
            "wall clock": self._wall_clock,
            "move leader": self._move_leader,
            "defragment": self._defragment,
            "replace": self._replace,
            "grow": self._grow,
            "shrink": self._shrink,
            "leave one": self._leave_one,
        }
        share = dice.choice(SHARES)
        self.kinds = [kind for kind in self._doings if dice.random() < (share * RARE if kind in CLOCK_KINDS else share)]
        """Those of this run."""
        self._weights = [dice.random() for _ in self.kinds]

    @property
    def needs_points(self) -> bool:
        """Crash points must be watched."""
        return POINT_KIND in self.kinds

    @property
    def clocks_lie(self) -> bool:
        """Members may think that more time has passed than has."""
        return not CLOCK_KINDS.isdisjoint(self.kinds)

    def start(self) -> None:
        self._stopped = False
        self._next()

    def stop(self) -> None:
        """Undo everything, for good."""
        self._stopped = True
        self._note("stop")
        self._cluster.heal()
        self._cluster.boot()
        scheduler = self._cluster.scheduler
        scheduler.at(scheduler.now + LATE_SECONDS, self._cluster.boot)

    def _next(self) -> None:
        self.strikes += 1
        self._dice = Random(f"{self._cluster.seed}/fault/{self.strikes}")
        scheduler = self._cluster.scheduler
        scheduler.at(scheduler.now + self._dice.expovariate(1 / self._rest), self._strike)

    def _strike(self) -> None:
        if self._stopped or not self.kinds:
            return
        if self.strikes not in self._skip:
            self._do(self._dice.choices(self.kinds, self._weights)[0])
        for machine in self._cluster.members:  # one may have died by itself, of an earlier fault
            if not machine.alive:
                scheduler = self._cluster.scheduler
                scheduler.at(scheduler.now + 2 * self._hold, self._undo, machine.boot)
        self._next()

    def _do(self, kind: str) -> None:
        self._note(f"fault {self.strikes}: {kind}")
        held = self._dice.expovariate(1 / self._hold)
        undo = self._doings[kind]()
        if undo is not None:
            self._cluster.scheduler.at(self._cluster.scheduler.now + held, self._undo, undo)

    def _undo(self, undo: Undo) -> None:
        if not self._stopped:
            undo()

    def _note(self, what: str) -> None:
        self._cluster.scheduler.note("sim", what)

    def _some(self) -> Machine:
        """A member, the leader more often than the others."""
        leader = self._cluster.leader()
        if leader is not None and self._dice.random() < 0.4:
            return self._cluster.members[leader]
        return self._dice.choice(self._cluster.members)

    def _pair(self) -> tuple[str, str]:
        """Two machines, one of them a member's."""
        one = self._some().name
        return one, self._dice.choice([name for name in [*self._cluster.names, CLIENTS] if name != one])

    # Processes.

    def _crash(self) -> Undo:
        machine = self._some()
        machine.crash()
        return machine.boot

    def _power_loss(self) -> Undo:
        machine = self._some()
        machine.crash(power=self._may_lose_power(machine))
        return machine.boot

    def _may_lose_power(self, machine: Machine) -> bool:
        """What a disk that lied had promised would be gone, and no log survives that."""
        return not machine.disk.faults.lying_sync

    def _crash_all(self) -> Undo:
        for machine in self._cluster.members:
            machine.crash(power=self._dice.random() < 0.5 and self._may_lose_power(machine))
        return self._cluster.boot

    def _crash_in_disk(self) -> Undo:
        return self._doom("", self._dice.randrange(CRASH_WITHIN))

    def _crash_at_point(self) -> Undo:
        return self._doom(self._dice.choice(crash_points.NAMES), self._dice.choice((0, 0, 1, 5, 20)))

    def _doom(self, point: str, passes: int, power: float = 0.5) -> Undo:
        machine = self._some()
        machine.doom = Doom(point, passes, self._dice.random() < power and self._may_lose_power(machine))
        self._note(f"{machine.name} is to die at {point or 'its disk'}, at the next but {passes}")
        return machine.boot

    def _crash_at_change(self) -> Undo:
        """Of the members: somebody asks for one, and it loses its power, mostly, where it has just been applied."""
        undo = self._doom(AT_CHANGE, 0, power=0.8)
        change = self._dice.choice((self._replace, self._grow, self._shrink))
        change()
        return undo

    def _pause(self) -> Undo | None:
        process = self._some().process
        if process is None:
            return None
        process.loop.pause()
        return process.loop.resume

    def _stall_leader(self) -> None:
        """For longer than a lease lives: it wakes up with all of that time gone, and believes that it leads."""
        leader = self._cluster.leader()
        process = None if leader is None else self._cluster.members[leader].process
        if process is not None:
            process.loop.pause()
            scheduler = self._cluster.scheduler
            scheduler.at(scheduler.now + self._dice.uniform(*STALL_SECONDS), self._undo, process.loop.resume)

    # Network.

    def _isolate(self) -> Undo:
        self._cluster.network.isolate(self._some().name)
        return self._cluster.network.heal

    def _depose(self) -> Undo | None:
        """Who leads is cut off from all others but not from clients: it does not know that another one leads."""
        leader = self._cluster.leader()
        if leader is None:
            return None
        name = self._cluster.members[leader].name
        self._cluster.network.partition([name], [other for other in self._cluster.names if other != name])
        return self._cluster.network.heal

    def _scatter(self) -> Undo:
        """All are cut off from each other but not from clients: who led gathers entries that nobody else has, and may
        lead again in a later term with these (Raft paper, figure 8)."""
        names = self._cluster.names
        for number, name in enumerate(names):
            self._cluster.network.partition([name], names[number + 1 :])
        return self._cluster.network.heal

    def _cut_one_way(self) -> Undo:
        one, other = self._pair()
        if self._dice.random() < 0.5:
            one, other = other, one
        self._cluster.network.cut(one, other)
        return lambda: self._cluster.network.heal(one, other)

    def _split(self) -> Undo:
        names = [*self._cluster.names, CLIENTS]
        self._dice.shuffle(names)
        border = self._dice.randrange(1, len(names))
        bridge = self._dice.random() < 0.3  # one machine sees both sides
        self._cluster.network.partition(names[:border], names[border + bridge :])
        return self._cluster.network.heal

    def _reset(self) -> None:
        self._note("reset")
        self._cluster.network.reset(*self._pair())

    def _latency(self) -> Undo:
        link = self._cluster.network.link(*self._pair())
        link.latency = self._dice.choice(((0.0002, 0.02), (0.05, 0.3), (0.5, 2.0)))
        self._note(f"latency {link.source.name}>{link.target.name} {link.latency}")
        return lambda: setattr(link, "latency", (0.0002, 0.001))

    def _loss(self) -> Undo:
        link = self._cluster.network.link(*self._pair())
        link.loss = self._dice.choice((0.01, 0.1, 0.5))
        self._note(f"loss {link.source.name}>{link.target.name} {link.loss}")
        return lambda: setattr(link, "loss", 0.0)

    def _bandwidth(self) -> Undo:
        link = self._cluster.network.link(*self._pair())
        link.bandwidth = self._dice.choice((2_000.0, 20_000.0, 200_000.0))
        self._note(f"bandwidth {link.source.name}>{link.target.name} {link.bandwidth:g}")
        return lambda: setattr(link, "bandwidth", None)

    def _echo(self) -> Undo:
        machine = self._some()
        echo = machine.echo
        echo.chance, echo.seconds = self._dice.choice((0.01, 0.1, 0.5)), self._dice.choice((0.01, 0.5, 5.0))
        self._note(f"{machine.name} hears twice {echo.chance} {echo.seconds}")
        return lambda: setattr(echo, "chance", 0.0)

    # Disks.

    def _slow_disk(self) -> Undo:
        machine = self._some()
        faults = machine.disk.faults
        faults.slow_sync, faults.slow_seconds = self._dice.choice((0.1, 0.5, 1.0)), self._dice.choice((0.01, 0.1, 1.0))
        self._note(f"{machine.name} disk slow {faults.slow_sync} {faults.slow_seconds}")
        return lambda: setattr(faults, "slow_sync", 0.0)

    def _disk_errors(self) -> Undo:
        machine = self._some()
        kind = self._dice.choice(("write_error", "sync_error"))
        chance = self._dice.choice((0.01, 0.1))
        setattr(machine.disk.faults, kind, chance)
        self._note(f"{machine.name} disk {kind} {chance}")
        return lambda: setattr(machine.disk.faults, kind, 0.0)

    def _full_disk(self) -> Undo:
        disk = self._some().disk
        disk.faults.capacity = disk.used() + self._dice.randrange(SPARE_BYTES)
        return lambda: setattr(disk.faults, "capacity", None)

    def _lying_disk(self) -> Undo:
        """Syncs that return with nothing on the platter, where it gets late."""
        machine = self._some()
        if machine.doom is None:
            machine.disk.faults.lying_sync = self._dice.choice((0.1, 1.0))
            self._note(f"{machine.name} disk lies {machine.disk.faults.lying_sync}")
        return machine.disk.tell_the_truth

    def _rotten_log(self) -> Undo | None:
        """A bit of a closed segment changes while the member is down. It must refuse to start, and be replaced."""
        machine = self._some()
        if len(self._cluster.running()) < 3 or not self.operator.may_begin(machine):
            return None
        machine.crash()
        directory = str(machine.config.wal_path)
        closed = [name for name in machine.disk.mount().list(directory) if name.endswith(".wal")][:-1]
        if closed:
            path = f"{directory}/{self._dice.choice(closed)}"
            offset = machine.disk.rot(path)
            machine.rotten = True
            self._note(f"{machine.name} bits rot in {path} at {offset}")
            self.operator.replace(machine)
        return machine.boot

    # Clocks.

    def _clock_rate(self) -> Undo | None:
        process = self._some().process
        if process is None or process.loop.is_closed():
            return None
        process.loop.set_clock_rate(self._dice.uniform(0.7, 1.4))
        return lambda: None if process.loop.is_closed() else process.loop.set_clock_rate(1.0)

    def _clock_leap(self) -> None:
        process = self._some().process
        if process is not None and not process.loop.is_closed():
            process.loop.leap(self._dice.uniform(0.0, 4.0))

    def _wall_clock(self) -> None:
        process = self._some().process
        if process is not None:
            process.loop.clock.wall_offset = self._dice.uniform(-1e6, 1e6)
            process.loop.note(f"wall clock {process.loop.clock.wall_offset:+.0f}")

    # What operators do.

    def _replace(self) -> None:
        self.operator.replace(self._some())

    def _grow(self) -> None:
        self.operator.grow()

    def _shrink(self) -> None:
        self.operator.shrink(self._some())

    def _leave_one(self) -> None:
        """Members are removed one by one; who is left loses its power in the turn in which it applies that it is."""
        scheduler, dice = self._cluster.scheduler, Random(self._dice.random())

        def go_on() -> None:
            staying = [machine for machine in self._cluster.members if not machine.leaving]
            if self._stopped or len(staying) < 2:
                return
            last, gone = dice.sample(staying, 2)
            if self.operator.may_begin(gone):
                if len(staying) == 2:
                    last.doom = Doom(AT_CHANGE, 0, power=self._may_lose_power(last))
                self.operator.shrink(gone)
            scheduler.at(scheduler.now + 1.0, go_on)

        go_on()

    def _defragment(self) -> None:
        number = self._cluster.members.index(self._some())
        if self._cluster.members[number].ready:
            self._note(f"defragment {self._cluster.members[number].name}")
            self._cluster.client_loop.create_task(self._workload.try_to(number, pb.DefragmentRequest()))

    def _move_leader(self) -> None:
        leader = self._cluster.leader()
        if leader is None or len(self._cluster.members) == 1:
            return
        number = self._dice.choice([n for n in range(len(self._cluster.members)) if n != leader])
        server = self._cluster.members[number].server
        if server is not None:
            self._note(f"move leader to {self._cluster.members[number].name}")
            request = pb.MoveLeaderRequest(targetID=server.member_id)
            self._cluster.client_loop.create_task(self._workload.try_to(leader, request))
