"""A whole backend file made from rows at once, in bites."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from pathlib import Path

import lmdb

from quorate.pkg.aside import aside
from quorate.storage.backend.file import (
    DEFAULT_MAP_SIZE,
    MAX_KEY_BYTES,
    BackendError,
    Bucket,
    in_order,
    move_into_place,
    open_environment,
    remove_temporary,
    temporary_path,
)
from quorate.storage.backend.writer import Changes, place_all

BITE_ROWS = 500
BITE_BYTES = 1 << 18
"""Rows, and bytes of them, written between two yields: about a millisecond of work. Each bite is a transaction."""

Row = tuple[Bucket, bytes, bytes]


def load(path: str | Path, buckets: Sequence[Bucket], rows: Iterable[Row]) -> Generator[None, None, None]:
    """Make a backend file of `rows` at `path`, for `Backend.replace` or `Backend.open`. Yields between bites.

    The file gets its name when it is whole and synced, over one that was there. Until then it is `<path>.tmp`, which
    goes away when this fails or is closed. Ascending rows make the smallest file soonest; of two rows with one key the
    later counts. Raises BackendError when the file cannot be written or a key is longer than MAX_KEY_BYTES.
    """
    path = Path(path)
    temporary = temporary_path(path)
    try:
        remove_temporary(temporary)
        env = open_environment(temporary, DEFAULT_MAP_SIZE, sync=False)
        try:
            yield from fill(env, [env.open_db(bucket.name) for bucket in in_order(buckets)], rows)
            yield from aside(lambda: env.sync(True))
        finally:
            env.close()
        yield from aside(lambda: move_into_place(temporary, path))
    except (lmdb.Error, OSError) as error:
        remove_temporary(temporary)
        raise BackendError(f"cannot write {path}: {error}") from error
    except BaseException:
        remove_temporary(temporary)
        raise


def fill(env: lmdb.Environment, handles: list[lmdb._Database], rows: Iterable[Row]) -> Generator[None, None, None]:
    """Write `rows` in bites, each in a transaction of its own. Raises BackendError for a key that cannot be stored."""
    bite: dict[int, Changes] = {}
    count = size = 0
    for (name, number), key, value in rows:
        if not 0 < len(key) <= MAX_KEY_BYTES:
            raise BackendError(
                f"a key of {len(key)} bytes in bucket {name.decode(errors='replace')}: "
                f"1 to {MAX_KEY_BYTES} bytes can be stored"
            )
        bite.setdefault(number, {})[key] = value
        count += 1
        size += len(key) + len(value)
        if count >= BITE_ROWS or size >= BITE_BYTES:
            _write(env, handles, bite)
            yield
            bite = {}
            count = size = 0
    _write(env, handles, bite)


def _write(env: lmdb.Environment, handles: list[lmdb._Database], bite: dict[int, Changes]) -> None:
    with env.begin(write=True) as txn:
        place_all(txn, handles, bite)
