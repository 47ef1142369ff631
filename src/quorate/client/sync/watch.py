"""The sync twin of quorate.client.watch. Generated from it by tools/gen_sync.py: do not edit."""

from __future__ import annotations

from types import TracebackType

from quorate.client import watch as _source
from quorate.client.results import Event
from quorate.client.sync.base import Twin


class Watch(Twin[_source.Watch]):
    """`with` opens it, so that all that happens from then on is told; `for` gives events.

    One task may take from it at a time. `revision` is the last one that is told completely."""

    @property
    def _closed(self) -> bool:
        return self._inner._closed

    @property
    def revision(self) -> int:
        """The last revision that was told, or of which there was nothing to tell; 0 before it is open."""
        return self._inner.revision

    @property
    def resumes_at(self) -> int:
        """The revision with which it begins again when its stream breaks; at most `revision` + 1. An answer about
        progress counts only when the next has come: members before 3.5.8 give it ahead of events on their way."""
        return self._inner.resumes_at

    def __enter__(self) -> Watch:
        """Raises as `__next__`, and DeadlineExceeded when no member confirms the watch in the client's `timeout`."""
        self._portal.run(self._inner.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._portal.run(self._inner.__aexit__(kind, error, trace))

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        """The next event, however long it takes. Raises Compacted, PermissionDenied and the like; ends when closed."""
        while (event := self._pop()) is None:
            if self._closed:
                raise StopIteration
            self._advance()
        return event

    def next(self, timeout: float | None = None) -> Event | None:
        """The next event; None when there is none in so many seconds, or the watch is closed. Raises as `__next__`."""
        return self._portal.run(self._inner.next(timeout))

    def batch(self) -> list[Event]:
        """All events that are here, of whole revisions, or none if only `revision` has moved; waits for either.

        Raises as `__next__`, and Closed when the watch is closed."""
        return self._portal.run(self._inner.batch())

    def ask_progress(self) -> None:
        """Ask the member how far it has told everything, so that `revision` moves; it may have no stream just now."""
        self._portal.call(lambda: self._inner.ask_progress())

    def close(self) -> None:
        """End it; who waits for an event is told that there are no more."""
        self._portal.run(self._inner.close())

    def _pop(self) -> Event | None:
        """The next event, if it is here."""
        return self._inner._pop()

    def _advance(self) -> None:
        """Read one response, or open the stream anew."""
        self._portal.run(self._inner._advance())
