"""What happened in a run: one short line per event, and the same lines for the same seed."""

from __future__ import annotations

import hashlib


class Trace:
    """Lines of `time member what`: virtual seconds, a name, a few words. One that does not `keep` drops them."""

    def __init__(self, *, keep: bool = True) -> None:
        self.keep = keep
        self.lines: list[str] = []

    def note(self, time: float, member: str, what: str) -> None:
        """Something happened to `member`; "net" and "sim" are no members."""
        if self.keep:
            self.lines.append(f"{time:.6f} {member} {what}")

    def digest(self) -> str:
        """A hash of all lines: equal traces, equal digests."""
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()
