"""The paths under /debug/pprof/: an index, and a page or a download for each profile."""

from __future__ import annotations

import asyncio
import math
import sys
import threading
from collections.abc import Awaitable, Callable
from html import escape

from quorate.etcdhttp.answers import NOSNIFF, TEXT
from quorate.etcdhttp.profiles.format import Profile
from quorate.etcdhttp.profiles.heap import heap_profile
from quorate.etcdhttp.profiles.sampler import Sampler
from quorate.etcdhttp.profiles.stacks import task_stacks, thread_stacks
from quorate.transport.web import HttpRequest, HttpResponse, text_response

PREFIX = "/debug/pprof"
DEFAULT_SECONDS = {"profile": 30.0, "heap": 10.0}
MAX_SECONDS = 600.0
ABSENT = {
    "allocs": "what was freed is not kept; heap shows what stays",
    "block": "waiting is not counted; goroutine shows who waits now",
    "mutex": "the interpreter does not count contention for locks",
    "trace": "the interpreter keeps no trace of its scheduling",
}
"""Go's profiles that Python has no account of."""

Make = Callable[[float], Awaitable[Profile]]


class Profiles:
    """One profile over time is taken at a time."""

    def __init__(self) -> None:
        self._busy = False
        self._timed: dict[str, Make] = {"profile": _cpu_profile, "heap": heap_profile}
        self._now: dict[str, tuple[str, Callable[[], Profile]]] = {
            "goroutine": ("where each thread and task is", _waiting_profile),
            "threadcreate": ("the threads", _thread_profile),
        }

    def knows(self, path: str) -> bool:
        return path == PREFIX or path.startswith(PREFIX + "/")

    async def __call__(self, request: HttpRequest) -> HttpResponse:
        name = request.path.removeprefix(PREFIX)[1:]
        as_text = request.query.get("debug", ["0"])[0] not in ("", "0")
        match name:
            case "":
                return _answer("text/html; charset=utf-8", self._index().encode())
            case "cmdline":
                return _answer(TEXT, "\0".join(sys.orig_argv).encode())
            case "symbol":
                return _answer(TEXT, b"num_symbols: 1\n")  # profiles bring their names along
        if name in ABSENT:
            return text_response(404, f"no profile {name} here: {ABSENT[name]}", [NOSNIFF])
        if name in self._now:
            return _download(name, self._now[name][1](), as_text)
        if name in self._timed:
            request.tied = True
            return await self._over_time(name, request, as_text)
        return text_response(404, "Unknown profile", [NOSNIFF])

    async def _over_time(self, name: str, request: HttpRequest, as_text: bool) -> HttpResponse:
        seconds = _seconds(request, DEFAULT_SECONDS[name])
        if seconds is None:
            return text_response(400, f"seconds must be a number above 0, at most {MAX_SECONDS:g}", [NOSNIFF])
        if self._busy:
            return text_response(500, "Could not enable profiling: a profile is being taken already", [NOSNIFF])
        self._busy = True
        try:
            return _download(name, await self._timed[name](seconds), as_text)
        finally:
            self._busy = False

    def _index(self) -> str:
        rows = {
            "cmdline": "the command line",
            **{name: about for name, (about, _) in self._now.items()},
            "heap": "what is allocated for ?seconds=10 and stays; slows the member down meanwhile",
            "profile": "where processor time goes for ?seconds=30",
        }
        lines = "".join(
            f'<tr><td><a href="{PREFIX}/{name}?debug=1">{name}</a></td><td>{escape(about)}</td></tr>\n'
            for name, about in sorted(rows.items())
        )
        return (
            f"<html>\n<head>\n<title>{PREFIX}/</title>\n</head>\n<body>\n{PREFIX}/<br>\n<br>\n"
            f"Profiles of this process; without ?debug=1 they are downloads that <code>go tool pprof</code> reads.\n"
            f"<table>\n{lines}</table>\n</body>\n</html>\n"
        )


async def _cpu_profile(seconds: float) -> Profile:
    sampler = Sampler()
    sampler.start()
    try:
        await asyncio.sleep(seconds)
    finally:
        sampler.stop()
    return sampler.profile


def _waiting_profile() -> Profile:
    profile = Profile([("goroutine", "count")])
    for thread, stack in thread_stacks():
        profile.add(thread.name, stack, (1,))
    for name, stack in task_stacks():
        profile.add(name.rstrip("0123456789-") or name, stack, (1,))
    return profile


def _thread_profile() -> Profile:
    profile = Profile([("threadcreate", "count")])
    for thread in threading.enumerate():
        profile.add(thread.name, (), (1,))
    return profile


def _seconds(request: HttpRequest, default: float) -> float | None:
    """How long to look; None for what is no time."""
    text = request.query.get("seconds", [""])[0]
    try:
        seconds = float(text) if text else default
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and 0 < seconds <= MAX_SECONDS else None


def _answer(kind: str, body: bytes, *headers: tuple[str, str]) -> HttpResponse:
    return HttpResponse(200, [("Content-Type", kind), NOSNIFF, *headers], body)


def _download(name: str, profile: Profile, as_text: bool) -> HttpResponse:
    if as_text:
        head = f"{name} profile: total {profile.total()}\n"
        return _answer(TEXT, (head + profile.text()).encode("utf-8", "replace"))
    attachment = ("Content-Disposition", f'attachment; filename="{name}"')
    return _answer("application/octet-stream", profile.message(), attachment)
