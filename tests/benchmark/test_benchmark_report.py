"""The report, character by character, and what its numbers mean."""

from __future__ import annotations

import re
from array import array

from quorate.cmd.benchmark.fleet import Results
from quorate.cmd.benchmark.goal import Goal
from quorate.cmd.benchmark.report import describe, exact_percentile, percentiles, plain

EXPECTED = """
Summary:
  Total:\t2.0000 secs.
  Slowest:\t0.0110 secs.
  Fastest:\t0.0010 secs.
  Average:\t0.0036 secs.
  Stddev:\t0.0037 secs.
  Requests/sec:\t2.5000

Response time histogram:
  0.0010 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎
  0.0020 [3]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎∎
  0.0030 [0]\t|
  0.0040 [0]\t|
  0.0050 [0]\t|
  0.0060 [0]\t|
  0.0070 [0]\t|
  0.0080 [0]\t|
  0.0090 [0]\t|
  0.0100 [0]\t|
  0.0110 [1]\t|∎∎∎∎∎∎∎∎∎∎∎∎∎

Latency distribution:
  10% in 0.0020 secs.
  25% in 0.0020 secs.
  50% in 0.0020 secs.
  75% in 0.0110 secs.
"""


def results(*seconds: float, elapsed: float = 2.0) -> Results:
    return Results("", elapsed, array("d", seconds))


def test_the_report_is_laid_out_as_operators_know_it() -> None:
    assert describe(results(0.002, 0.011, 0.001, 0.002, 0.002)) == EXPECTED


def test_a_percentile_is_the_first_sample_at_or_above_it_and_is_left_out_when_there_is_none() -> None:
    ordered = [n / 1000 for n in range(1, 101)]
    found = percentiles(ordered)
    assert found[50.0] == 0.051 and found[99.0] == 0.1 and found[99.9] == 0.0
    text = describe(results(*ordered))
    assert "99% in 0.1000" in text and "99.9%" not in text
    assert exact_percentile(ordered, 99) == 0.099


def test_without_a_success_only_the_errors_are_told() -> None:
    failed = Results("", 1.0, errors={"etcdserver: request is too large": 20})
    assert describe(failed) == "\nError distribution:\n  [20]\tetcdserver: request is too large\n"


def test_precise_numbers_are_not_cut() -> None:
    assert "  Total:\t0.079463978 secs.\n" in describe(results(0.001, elapsed=0.079463978), precise=True)


def test_samples_have_a_row_for_each_second_and_zeros_where_nothing_ended() -> None:
    found = Results("", 3.0, array("d", [0.001, 0.003, 0.002]), array("d", [1000.1, 1000.9, 1002.5]))
    tail = describe(found, sample=True).partition("Sample in one second (unix latency throughput):\n")[2].splitlines()
    assert tail == [
        "UNIX-SECOND,MIN-LATENCY-MS,AVG-LATENCY-MS,MAX-LATENCY-MS,AVG-THROUGHPUT",
        "1000,1ms,2ms,3ms,2",
        "1001,0s,0s,0s,0",
        "1002,2ms,2ms,2ms,1",
    ]


def test_a_goal_is_missed_by_too_few_by_too_slow_and_by_any_error() -> None:
    found = results(*[0.01] * 100, elapsed=1.0)
    assert Goal(100, 0.1).judge(found)[1]["met"]
    assert not Goal(101, 0.1).judge(found)[1]["met"]
    assert not Goal(100, 0.009).judge(found)[1]["met"]
    found.errors["some"] = 1
    text, level = Goal(100, 0.1).judge(found)
    assert not level["met"]
    assert re.search(r"Errors:\t1: MISSED", text)


def test_programs_are_told_the_same_numbers() -> None:
    told = plain(results(0.002, 0.011, 0.001, 0.002, 0.002))
    assert (told["requests"], told["requests_per_second"], told["slowest"]) == (5, 2.5, 0.011)
    assert told["percentiles"]["75"] == 0.011
