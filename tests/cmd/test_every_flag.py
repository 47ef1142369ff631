"""Every flag of etcd 3.4 to 3.7 is known, with its default, and the page about them says what is there."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
from pathlib import Path

import pytest
from flag_page import Fact, facts, parse_page

from quorate.cmd.flags import build_flags
from quorate.pkg.goflag import FlagError, show
from quorate.testing.process import real_binary

ETCD_351_HELP = {
    "data-dir": "",
    "discovery-fallback": "exit",
    "snapshot-count": "10000",
    "v2-deprecation": "write-only",
    "grpc-keepalive-interval": "2h0m0s",
    "backend-batch-interval": "0s",
    "experimental-watch-progress-notify-interval": "10m0s",
    "experimental-bootstrap-defrag-threshold-megabytes": "0",
}
"""What 3.5.1 shows in another way, or as another default than later releases."""


@pytest.mark.parametrize("fact", [fact for fact in facts() if fact.of_interest], ids=lambda fact: fact.name)
def test_a_flag_is_known_with_its_default(fact: Fact) -> None:
    flags = build_flags()
    assert show(flags.flags[fact.name].default) == fact.default


@pytest.mark.parametrize("fact", [fact for fact in facts() if not fact.of_interest], ids=lambda fact: fact.name)
def test_a_flag_that_was_removed_names_what_is_in_its_place(fact: Fact) -> None:
    flags = build_flags()
    for words in ([f"--{fact.name}=x"], [f"-{fact.name}", "x"]):
        with pytest.raises(FlagError, match=rf"^flag provided but not defined: -{fact.name} \(removed in .*: use --"):
            flags.parse(words)
    with pytest.raises(FlagError, match="use --"):
        flags.from_environment({"ETCD_" + fact.name.upper().replace("-", "_"): "x"}, "ETCD")


def test_the_facts_are_those_of_the_reference_page() -> None:
    page = Path(os.environ.get("QUORATE_REFERENCE", "reference")) / "flags.md"
    if not page.is_file():
        pytest.skip("QUORATE_REFERENCE names no folder with flags.md")
    found = parse_page(page.read_text("utf-8"))
    assert len(found) > 100
    assert found == facts()


@pytest.mark.real
def test_the_help_of_real_etcd_names_no_flag_that_is_unknown_here() -> None:
    etcd = real_binary("etcd")
    if etcd is None:
        pytest.skip("no real etcd")
    told = subprocess.run([etcd, "--help"], capture_output=True, text=True, timeout=20, check=True).stdout
    listed = re.findall(r"^  --([a-z0-9-]+)(?: '?([^'\n]*(?:\{.*\})?)'?)?$", told, re.MULTILINE)
    assert len(listed) >= 90
    flags = build_flags().flags
    for name, default in listed:
        shown = show(flags[name].default)
        assert shown == ETCD_351_HELP.get(name, default), name


def test_the_page_about_configuration_has_the_flags_that_there_are() -> None:
    tools = Path(__file__).parent.parent.parent / "tools"
    spec = importlib.util.spec_from_file_location("gen_flags", tools / "gen_flags.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.stale() == [], "run tools/gen_flags.py"


def test_words_of_old_releases_are_taken_and_mean_nothing() -> None:
    given = build_flags().parse(["--snapshot", "-v=3", "--test.outputdir=x", "--name=n"])
    assert given == {"snapshot": None, "v": None, "test.outputdir": None, "name": "n"}
