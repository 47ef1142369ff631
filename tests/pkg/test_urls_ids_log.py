"""URL lists, request IDs and log lines."""

import json
import logging
from pathlib import Path

import pytest

from quorate.pkg import jsonlog, urls
from quorate.pkg.ids import IdGenerator


def test_url_lists_are_sorted_and_have_no_duplicates() -> None:
    text = " http://127.0.0.1:2 ,http://127.0.0.1:1,http://127.0.0.1:2"
    assert urls.parse_urls(text) == ["http://127.0.0.1:1", "http://127.0.0.1:2"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "no valid URLs given"),
        ("http://127.0.0.1", 'URL address does not have the form "host:port": http://127.0.0.1'),
        ("http://127.0.0.1:x", 'URL address does not have the form "host:port": http://127.0.0.1:x'),
        ("ftp://127.0.0.1:1", "URL scheme must be http, https, unix, or unixs: ftp://127.0.0.1:1"),
        ("127.0.0.1:1", "URL scheme must be http, https, unix, or unixs: 127.0.0.1:1"),
        ("http://127.0.0.1:1/", "URL must not contain a path: http://127.0.0.1:1/"),
    ],
)
def test_a_malformed_url_is_named(text: str, error: str) -> None:
    with pytest.raises(ValueError) as caught:
        urls.parse_urls(text)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    "url",
    [
        "http://a b:1",
        "http://a\t:1",
        "http://a:1?x\r\nHost:y",
        "http://a%41:1",
        "http://%zz:1",
        "http://a|b:1",
        "http://a\\b:1",
        "http://[::1]x:1",
        "http://x[::1]:1",
        "http://[fe80::1%eth0]:1",
        "http://u v@a:1",
        "http://a:1#%zz",
    ],
)
def test_a_url_that_nobody_could_ask_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        urls.parse_urls(url)


def test_urls_that_members_may_have_are_kept_as_they_are_but_for_the_scheme() -> None:
    for url in ("http://a_b.c:1", "http://u:p@a:1", "http://[fe80::1%25eth0]:1", "http://a:1?q", "http://:1"):
        assert urls.parse_urls(url) == [url]
    assert urls.parse_urls("HTTP://A:1") == ["http://A:1"]


def test_only_addresses_of_this_machine_are_bound() -> None:
    for url in ("http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "unix:///x"):
        urls.check_bindable(url)
    with pytest.raises(ValueError, match=r"expected IP in URL for binding \(http://example.com:2380\)"):
        urls.check_bindable("http://example.com:2380")


def test_request_ids_never_repeat_across_a_restart_a_second_later() -> None:
    first, second = IdGenerator(0xABCD1234, 1000.0), IdGenerator(0xABCD1234, 1001.0)
    ids = [first.next() for _ in range(1000)] + [second.next() for _ in range(1000)]
    assert len(set(ids)) == 2000
    assert all(number >> 48 == 0x1234 for number in ids)


def test_a_log_line_is_one_json_object_with_dashed_fields(tmp_path: Path) -> None:
    file = tmp_path / "log"
    before = list(logging.getLogger(jsonlog.ROOT).handlers)
    jsonlog.configure("info", [str(file)])
    try:
        log = jsonlog.get_log("quorate.test")
        log.debug("hidden")
        log.warn("disk is slow", took_ms=12, path="/x")
    finally:
        root = logging.getLogger(jsonlog.ROOT)
        for handler in root.handlers:
            handler.close()
        root.handlers[:] = before
        root.propagate = True
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["msg"] for line in lines] == ["disk is slow"]
    assert lines[0]["level"] == "warn"
    assert lines[0]["took-ms"] == 12
    assert lines[0]["caller"].startswith("pkg/test_urls_ids_log.py:")
    assert lines[0]["ts"].endswith("Z")


def test_default_output_stands_alone() -> None:
    with pytest.raises(ValueError, match='multi logoutput for "default" is not supported yet'):
        jsonlog.configure("info", ["default", "stdout"])
    with pytest.raises(ValueError, match='unrecognized level: "bad"'):
        jsonlog.configure("bad", ["default"])
