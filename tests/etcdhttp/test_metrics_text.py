"""The text format, and numbers as Go writes them."""

from __future__ import annotations

from math import inf, nan

import pytest
from metrics_support import Page

from quorate.etcdhttp.metrics.text import COUNTER, HISTOGRAM, Family, counter, gauge, histogram, render, to_text
from quorate.pkg.histogram import Histogram


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-3, "-3"),
        (0.1, "0.1"),
        (999_999, "999999"),
        (1_000_000, "1e+06"),
        (2_147_483_648, "2.147483648e+09"),
        (-2_147_483_648, "-2.147483648e+09"),
        (1_048_576.0, "1.048576e+06"),
        (819_200.0, "819200"),
        (1234567.5, "1.2345675e+06"),
        (1.5e-7, "1.5e-07"),
        (0.0001, "0.0001"),
        (2.0**64, "1.8446744073709552e+19"),
        (True, "1"),
        (inf, "+Inf"),
        (-inf, "-Inf"),
        (nan, "NaN"),
    ],
)
def test_numbers_are_written_as_go_writes_them(number: float, text: str) -> None:
    assert to_text(number) == text


def test_a_page_has_its_families_in_order_and_leaves_out_those_without_a_number() -> None:
    seen = Histogram([0.5, 1.0])
    for value in (0.25, 0.75, 4.0):
        seen.observe(value)
    labelled = Family("b_total", COUNTER, "Things.", ("From", "To"))
    labelled.add(3, 'a"b\\c', "x\ny")
    labelled.add(4, "", "z")
    times = Family("d_seconds", HISTOGRAM, "Times.", ("op",))
    times.add(seen, "Put")
    page = render(
        [times, labelled, Family("none", COUNTER, "Nothing."), histogram("c", "More.", seen), gauge("a", "One.", 1)]
    )
    assert page.decode() == (
        "# HELP a One.\n# TYPE a gauge\na 1\n"
        "# HELP b_total Things.\n# TYPE b_total counter\n"
        'b_total{From="a\\"b\\\\c",To="x\\ny"} 3\nb_total{From="",To="z"} 4\n'
        "# HELP c More.\n# TYPE c histogram\n"
        'c_bucket{le="0.5"} 1\nc_bucket{le="1"} 2\nc_bucket{le="+Inf"} 3\nc_sum 5\nc_count 3\n'
        "# HELP d_seconds Times.\n# TYPE d_seconds histogram\n"
        'd_seconds_bucket{op="Put",le="0.5"} 1\nd_seconds_bucket{op="Put",le="1"} 2\n'
        'd_seconds_bucket{op="Put",le="+Inf"} 3\nd_seconds_sum{op="Put"} 5\nd_seconds_count{op="Put"} 3\n'
    )


def test_a_counter_keeps_its_name_whatever_it_ends_in() -> None:
    page = Page(render([counter("etcd_server_health_success", "Told true.", 2)]).decode())
    assert page.families["etcd_server_health_success"].kind == "counter"
    assert page.of("etcd_server_health_success") == 2
