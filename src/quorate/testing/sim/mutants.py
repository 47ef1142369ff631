"""Does the simulator see a bug that is there? Bugs are planted one at a time, and seeds run until one fails.

    python -m quorate.testing.sim.mutants [NAME...] [--seeds A..B]

tells for each mutant how many seeds that took and what caught it; `docs/testing/mutants.md` is made of that.
A mutant counts as caught when a problem names the promise that is broken, as `caught_by` has it: the same regular
expression for every seed. What goes wrong in other ways is shown all the same.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import getdoc

from quorate.testing.sim import planted_raft as raft
from quorate.testing.sim import planted_state as state
from quorate.testing.sim.patch import Patch
from quorate.testing.sim.run import SECONDS, run_seed

SEEDS = (1, 500)
SHORT_SECONDS = 15.0
"""Virtual seconds of the runs that tests have."""
SHOWN = 120
"""Characters of a problem."""


@dataclass(frozen=True)
class Mutant:
    """A bug. `plant(patch)` puts it into the program; `caught_by` finds what is reported of it."""

    plant: Callable[[Patch], None]
    caught_by: str
    seed: int = 0
    """One that caught it within SHORT_SECONDS; 0 for a rare one, which only long hunts catch."""

    @property
    def name(self) -> str:
        return self.plant.__name__

    @property
    def breaks(self) -> str:
        """What it breaks, in a sentence."""
        return " ".join((getdoc(self.plant) or "").split())

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The program has the bug inside of this."""
        patch = Patch()
        try:
            self.plant(patch)
            yield
        finally:
            patch.undo()

    def telling(self, problems: Iterable[str]) -> str | None:
        """The first problem that names what is broken."""
        return next((problem for problem in problems if re.search(self.caught_by, problem)), None)


@dataclass
class Catch:
    """What came of running seeds against a mutant."""

    seeds: int = 0
    """Runs until it was caught, or all."""
    seed: int = 0
    """The one that caught it; 0 if none did."""
    seconds: float = 0.0
    """Simulated, of all these runs."""
    problem: str = ""
    others: int = 0
    """Runs that failed before, of something that does not name the promise."""


ON_DISKS = "not on the disks of a quorum"
AT_BEGIN = "had voted for|had committed entry|lost what was promised"
DIFFERENT = "state machine safety|a committed entry changed|leader completeness|what is committed is not in the log"
STALE = "a stale read|a write went before"
APPLIED = "at entry .* there is"
WATCH = "watch of|member .* differs|changes .* twice"
USERS = "denied to guest|allowed to guest|root may not|auth revisions of|users of|roles of"
EARLY = "is gone, .* after it was renewed"

MUTANTS = (
    Mutant(raft.commit_without_quorum, ON_DISKS, 2),
    Mutant(raft.count_learner_in_quorum, ON_DISKS),
    Mutant(raft.commit_earlier_terms_by_counting, "a leader of term .* committed"),
    Mutant(raft.commit_by_heartbeat, DIFFERENT),
    Mutant(raft.vote_for_shorter_log, DIFFERENT),
    Mutant(raft.vote_twice, "without the votes of a quorum|the vote changed|election safety", 4),
    Mutant(raft.forget_vote, AT_BEGIN, 2),
    Mutant(raft.vote_before_sync, AT_BEGIN),
    Mutant(raft.acknowledge_before_sync, f"{ON_DISKS}|{AT_BEGIN}", 7),
    Mutant(raft.sync_nothing, AT_BEGIN, 3),
    Mutant(raft.keep_conflicting_entries, f"{DIFFERENT}|{ON_DISKS}"),
    Mutant(raft.truncate_committed, f"{DIFFERENT}|{ON_DISKS}"),
    Mutant(raft.read_without_asking, STALE),
    Mutant(raft.read_index_without_quorum, STALE),
    Mutant(raft.change_members_on_append, "raft counts with", 2),
    Mutant(raft.tell_of_change_before_sync, "not so after"),
    Mutant(state.apply_last_entry_again, APPLIED, 2),
    Mutant(state.index_apart_from_data, APPLIED, 10),
    Mutant(state.restart_drops_uncommitted, AT_BEGIN, 2),
    Mutant(state.repair_cuts_too_much, AT_BEGIN),
    Mutant(state.snapshot_of_old_members, f"{APPLIED}|raft counts with|not so after"),
    Mutant(state.snapshot_ahead_of_rows, APPLIED),
    Mutant(state.compact_tombstone_too_soon, WATCH, 3),
    Mutant(state.compact_live_row, "wrong answer|hashes|a row that the index knows is missing|lost: ", 4),
    Mutant(state.compare_with_old_state, "wrong answer", 4),
    Mutant(state.watch_begins_late, WATCH, 1),
    Mutant(state.watch_repeats_after_catching_up, WATCH, 1),
    Mutant(state.tell_progress_too_early, WATCH, 1),
    Mutant(state.show_an_older_pair, WATCH, 1),
    Mutant(state.revoke_without_asking, EARLY),
    Mutant(state.keep_expiry_of_earlier_leadership, EARLY),
    Mutant(state.keep_users_behind_snapshot, USERS),
    Mutant(state.remember_what_was_granted, USERS),
)


def hunt(mutant: Mutant, seeds: Iterable[int], *, seconds: float = SECONDS) -> Catch:
    """Run `seeds` with the bug until one is caught."""
    found = Catch()
    with mutant.planted():
        for seed in seeds:
            outcome = run_seed(seed, seconds=seconds)
            found.seeds += 1
            found.seconds += outcome.seconds
            problem = mutant.telling(outcome.problems)
            if problem is not None:
                found.seed, found.problem = seed, problem
                break
            found.others += bool(outcome.problems)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 1 when a mutant was not caught."""
    options = _options(arguments)
    first, last = options.seeds
    seconds = SHORT_SECONDS if options.short else SECONDS
    seeds = range(first, last + 1)
    caught = [_row(mutant, hunt(mutant, seeds, seconds=seconds)) for mutant in options.mutants or MUTANTS]
    _say(f"{sum(caught)} passed, {len(caught) - sum(caught)} failed")
    return 0 if all(caught) else 1


def _row(mutant: Mutant, found: Catch) -> bool:
    """A row of the table; whether it was caught."""
    what = " ".join(found.problem.split()).replace("|", "\\|")[:SHOWN] or "not caught"
    others = f" ({found.others} failed otherwise)" if found.others else ""
    seed = f"seed {found.seed}: " if found.seed else ""
    _say(f"| {mutant.name} | {found.seeds}{others} | {found.seconds:.0f} | {seed}{what} |")
    return found.seed > 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _named(name: str) -> Mutant:
    found = [mutant for mutant in MUTANTS if mutant.name == name]
    if not found:
        raise argparse.ArgumentTypeError(f"none of {', '.join(mutant.name for mutant in MUTANTS)}: {name}")
    return found[0]


def _seeds(text: str) -> tuple[int, int]:
    first, _, last = text.partition("..")
    return int(first), int(last or first)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m quorate.testing.sim.mutants", description=__doc__)
    parser.add_argument("mutants", type=_named, nargs="*", metavar="NAME", help="plant these; all of them if none")
    parser.add_argument("--seeds", type=_seeds, default=SEEDS, metavar="A..B", help="run at most these, both included")
    parser.add_argument("--short", action="store_true", help=f"run {SHORT_SECONDS:.0f} virtual seconds, as tests do")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
