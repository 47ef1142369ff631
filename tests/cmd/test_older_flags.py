"""Flags of other releases: none is passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest

from quorate.cmd import older_flags
from quorate.cmd.flags import build_flags
from quorate.cmd.settings import Settings, read_settings
from quorate.embed import ConfigError
from quorate.pkg.goflag import Duration

FLAGS = build_flags()
DEFAULTS = {name: flag.default for name, flag in FLAGS.flags.items()}


def settings(*words: str, **environment: str) -> Settings:
    return read_settings(FLAGS, FLAGS.parse(words), environment)


OTHER_VALUES: dict[type, list[Any]] = {
    bool: [True, False],
    int: [17, 18],
    Duration: [Duration(17), Duration(18)],
    str: ["array", "map"],
}


@pytest.mark.parametrize("name", older_flags._RENAMED)
def test_an_older_name_works_and_says_what_is_todays(name: str) -> None:
    now = older_flags._RENAMED[name].now
    values: list[Any] = [["stdout"]] if name == "log-output" else OTHER_VALUES[type(FLAGS.flags[name].default)]
    for value in values:
        old = older_flags.translate({name: value}, DEFAULTS)
        new = older_flags.translate({now: value}, DEFAULTS)
        assert old.values == new.values
        assert old.notes == new.notes
        assert old.warnings == [("flag is deprecated", {"flag": f"--{name}", "use": f"--{now}"})]
    both = older_flags.translate({name: values[0], now: values[-1]}, DEFAULTS) if "unary" not in name else new
    assert both.values.get(now, values[-1]) == values[-1], "the newer name counts"


def test_a_variable_of_an_older_name_works_too() -> None:
    found = settings(ETCD_EXPERIMENTAL_CORRUPT_CHECK_TIME="5m", ETCD_DEBUG="true")
    assert (found.config.corrupt_check_time, found.config.log_level) == (300.0, "debug")
    told = [line.fields["use"] for line in found.lines if line.msg == "flag is deprecated"]
    assert told == ["--corrupt-check-time", "--log-level=debug"]


@pytest.mark.parametrize("name", older_flags._GATED)
def test_what_has_become_a_gate_sets_it(name: str) -> None:
    gate = older_flags._GATED[name].now
    found = settings(f"--{name}=false", "--feature-gates=SetMemberLocalAddr=true")
    assert found.config.feature_gates == {"SetMemberLocalAddr": True, gate: False}
    assert [line.fields["use"] for line in found.lines] == [f"--feature-gates={gate}=false"]
    with pytest.raises(ConfigError, match=f"cannot specify both flags: --{name}=true and --feature-gates={gate}=true"):
        settings(f"--{name}", f"--feature-gates={gate}=true")


@pytest.mark.parametrize("name", older_flags._REFUSED)
def test_what_is_not_built_is_refused_in_one_line_and_its_default_is_not(name: str) -> None:
    flag = FLAGS.flags[name]
    other = {bool: "true", int: "17", str: "on"}[type(flag.default)]
    with pytest.raises(ConfigError, match=f"^--{name} is not built: [^\n]+$"):
        settings(f"--{name}={other}")
    default = str(flag.default).lower()
    assert settings(f"--{name}={default}").lines == []


@pytest.mark.parametrize("name", older_flags._NO_EFFECT)
def test_what_has_no_effect_says_so_once(name: str) -> None:
    default = FLAGS.flags[name].default
    other = {bool: "true", int: "17", str: "gone" if name == "v2-deprecation" else "array"}[type(default)]
    found = settings(f"--{name}={other}")
    assert [(line.level, line.msg) for line in found.lines] == [
        ("info", f"--{name} has no effect: {older_flags._NO_EFFECT[name]}")
    ]
    assert settings(f"--{name}={str(default).lower()}").lines == []


def test_a_word_that_means_nothing_is_warned_of() -> None:
    found = settings("--snapshot", "--name=x")
    assert found.config.name == "x"
    assert [(line.level, line.fields) for line in found.lines] == [("warn", {"flag": "--snapshot"})]


def test_a_proxy_after_a_failed_discovery_is_refused_as_in_later_releases() -> None:
    with pytest.raises(ConfigError, match="v2 proxy is deprecated"):
        settings("--discovery-fallback=proxy").config.check()


def test_levels_of_packages_of_the_old_logger_go_to_the_rooms_that_do_their_work() -> None:
    found = settings("--log-package-levels=etcdserver=DEBUG,raft=WARNING,storage.wal=CRITICAL,*=ERROR")
    assert found.config.log_package_levels == {
        "quorate.server": 10,
        "quorate.raft": 30,
        "quorate.storage.wal": 50,
        "quorate": 40,
    }


def test_both_names_of_the_limit_of_slow_calls_are_refused_as_in_etcd() -> None:
    with pytest.raises(ConfigError, match="Use only --warning-unary-request-duration"):
        settings("--experimental-warning-unary-request-duration=1s", "--warning-unary-request-duration=1s")
