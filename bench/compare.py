"""Real etcd and Quorate side by side on this machine: the whole table, its file, and the page made from it.

    python bench/compare.py --pairs 3                        all of it; again after an interruption: it goes on
    python bench/compare.py --scale 0.02 --pairs 1 --rows put-1,range-1-l --topologies one --json /tmp/try.json
    python bench/compare.py --report                         only the page, from the file

Both clusters of a topology run at once, one of them idle, and take turns row by row, so that a slow moment of the
machine hits both; who is first alternates from pair to pair. Ratios are taken within pairs. Each measurement is bounded
by --seconds and written down at once. Large stores are measured one side at a time.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from page import write_page
from results import Book, Record
from rows import ROWS, Row
from sides import SIDES, TOPOLOGIES, Site, Topology, running, version_of
from store_rows import growth, million

from quorate.cmd.benchmark.fleet import LoadFailed

ROOT = Path(__file__).resolve().parent.parent
STORES = ("million", "growth")
STORE = "store"
"""What the topology of store rows is called in the file."""


def main() -> None:
    options = _options()
    path = options.json
    settings: Record = {name: getattr(options, name) for name in ("scale", "seconds", "growth_gb", "processes")}
    if not options.report:
        book = Book(path, settings, options.fresh)
        book.content["versions"] = {side: version_of(side) for side in SIDES}
        book.save()
        for pair in range(options.pairs):
            for name in options.topologies:
                _requests(book, TOPOLOGIES[name], pair, options)
        for pair in range(options.store_pairs):
            for store in STORES:
                if store in options.rows:
                    _stores(book, store, pair, options)
    beside = ROOT / "docs/performance.md" if path == _default_path() else path.with_suffix(".md")
    write_page(path, options.page or beside)


def _requests(book: Book, topology: Topology, pair: int, options: argparse.Namespace) -> None:
    """All rows of one topology, once on each side."""
    rows = [row for row in ROWS if row.name in options.rows and topology.name in row.topologies]
    missing = [row for row in rows if not all(book.has(topology.name, row.name, pair, side) for side in options.sides)]
    if not missing:
        return
    order = options.sides if pair % 2 == 0 else options.sides[::-1]
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=options.dir)))
        sites = {side: stack.enter_context(running(side, topology, place / side)) for side in order}
        for row in missing:
            for side in order:
                if not book.has(topology.name, row.name, pair, side):
                    book.add(topology.name, row.name, pair, side, _measured(row, sites[side], options))


def _measured(row: Row, site: Site, options: argparse.Namespace) -> Record:
    begun = time.perf_counter()
    try:
        found = row.run(site, options.scale, options.seconds, options.processes)
    except (LoadFailed, TimeoutError) as error:
        found = {"failed": str(error)}
    _tell(row.name, site.side, found, time.perf_counter() - begun)
    return found


def _stores(book: Book, store: str, pair: int, options: argparse.Namespace) -> None:
    """One large store, on one side after the other."""
    for side in options.sides if pair % 2 == 0 else options.sides[::-1]:
        if book.has(STORE, store, pair, side):
            continue
        begun = time.perf_counter()
        with tempfile.TemporaryDirectory(dir=options.dir) as place:
            found: Record = {}
            try:
                for name, record in _store_records(store, side, Path(place), options):
                    book.add(STORE, name, pair, side, record)
                    _tell(name, side, record, time.perf_counter() - begun)
            except (LoadFailed, TimeoutError) as error:
                found = {"failed": str(error)}
            book.add(STORE, store, pair, side, {**found, "took": time.perf_counter() - begun})


def _store_records(store: str, side: str, place: Path, options: argparse.Namespace) -> Iterator[tuple[str, Record]]:
    if store == "million":
        return million(side, place, options.scale, options.processes)
    return growth(side, place, options.growth_gb, options.processes)


def _tell(name: str, side: str, found: Record, took: float) -> None:
    shown = {"ops": "{:9.0f} ops/s", "p99_ms": "p99 {:8.2f} ms", "cpu_us": "{:7.1f} µs of CPU", "rss_mb": "{:6.0f} MB"}
    text = "  ".join(form.format(found[key]) for key, form in shown.items() if key in found)
    more = f"  {found['seconds']:.2f} s" if "seconds" in found else ""
    print(f"{name:<18}{side:<9}{found.get('failed', text)}{more}  (in {took:.1f} s)", flush=True)


def _default_path() -> Path:
    return ROOT / "docs/performance/compare.json"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [row.name for row in ROWS] + list(STORES)
    parser.add_argument("--rows", default=",".join(names), help="which rows; the default is all")
    parser.add_argument("--topologies", default=",".join(TOPOLOGIES), help="which of " + ", ".join(TOPOLOGIES))
    parser.add_argument("--sides", default=",".join(SIDES), help="which of the two")
    parser.add_argument("--pairs", type=int, default=3, help="how often each row of requests is measured on each side")
    parser.add_argument("--store-pairs", type=int, default=1, help="how often large stores are")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of all numbers of requests, clients and keys")
    parser.add_argument("--seconds", type=float, default=8.0, help="longest measurement of a row of requests")
    parser.add_argument("--growth-gb", type=float, default=2.0, help="size that `growth` fills a database to")
    parser.add_argument("--processes", type=int, default=1, help="processes that make the load")
    parser.add_argument("--dir", help="where data directories go")
    parser.add_argument("--json", type=Path, default=_default_path(), help="the file of results")
    parser.add_argument("--page", type=Path, help="the page; docs/performance.md for the default file, else beside it")
    parser.add_argument("--fresh", action="store_true", help="forget what the file holds")
    parser.add_argument("--report", action="store_true", help="measure nothing, write the page")
    options = parser.parse_args()
    options.json = options.json.resolve()
    for name, known in (("rows", names), ("topologies", TOPOLOGIES), ("sides", SIDES)):
        chosen = [word for word in getattr(options, name).split(",") if word]
        if unknown := [word for word in chosen if word not in known]:
            parser.error(f"unknown {name}: {', '.join(unknown)}; there are {', '.join(known)}")
        setattr(options, name, chosen)
    return options


if __name__ == "__main__":
    sys.exit(main())
