"""--metrics, --listen-metrics-urls and --enable-pprof."""

from __future__ import annotations

from quorate.cmd.flags import build_flags
from quorate.cmd.settings import read_settings
from quorate.embed import Config


def config_of(*words: str) -> Config:
    flags = build_flags()
    return read_settings(flags, flags.parse(words), {}).config


def test_nothing_is_watched_by_others_unless_asked_for() -> None:
    config = config_of()
    assert (config.metrics, config.listen_metrics_urls, config.enable_pprof) == ("basic", [], False)
    assert config_of("--listen-metrics-urls=").listen_metrics_urls == []


def test_metrics_flags_reach_the_settings() -> None:
    config = config_of(
        "--metrics=extensive", "--listen-metrics-urls=http://127.0.0.1:2381,https://10.0.0.1:2381", "--enable-pprof"
    )
    assert (config.metrics, config.enable_pprof) == ("extensive", True)
    assert config.listen_metrics_urls == ["http://127.0.0.1:2381", "https://10.0.0.1:2381"]
