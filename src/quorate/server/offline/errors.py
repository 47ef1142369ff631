"""What can be wrong with the files of a member that does not run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from quorate.storage.backend import BackendError, BackendInUse
from quorate.storage.bbolt import BboltError, BboltInUse
from quorate.storage.files import FileLocked
from quorate.storage.snap import BadSnapshot
from quorate.storage.wal import WalError


class OfflineError(Exception):
    """The job cannot be done, and nothing of it is left. The text is one line for an operator."""


class InUse(OfflineError):
    """A member, or another tool, holds a file that is needed; nothing is begun yet."""


@contextmanager
def one_kind(verb: str) -> Iterator[None]:
    """Whatever a disk or a file has against the block is an OfflineError; `verb` is what the system was asked to do."""
    try:
        yield
    except (BackendInUse, BboltInUse, FileLocked) as err:
        raise InUse(str(err)) from err
    except (BackendError, BboltError, WalError, BadSnapshot) as err:
        raise OfflineError(str(err)) from err
    except OSError as err:
        raise OfflineError(_describe(err, verb)) from err


def _describe(error: OSError, verb: str) -> str:
    """What the system refused, in etcd's words: `open /x/db: no such file or directory`."""
    if not error.errno:
        return str(error)
    what = os.strerror(error.errno)
    what = what[:1].lower() + what[1:]
    return f"{verb} {error.filename}: {what}" if error.filename else what
