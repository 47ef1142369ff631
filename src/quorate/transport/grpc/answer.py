"""What a caller is told when a handler fails."""

from __future__ import annotations

import logging

from quorate.api.errors import Code
from quorate.transport.grpc.status import status_of

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())


def answer_of(error: BaseException, path: str) -> tuple[int, str]:
    """Code and text for the caller of the method at `path`; an error that has none is our fault, told to the log and
    not to the caller."""
    status = status_of(error)
    if status is not None:
        return status
    _log.error("handler of %s failed", path, exc_info=error)
    return Code.INTERNAL, "internal error"
