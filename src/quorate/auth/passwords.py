"""Passwords: bcrypt hashes as etcd stores them. Slow on purpose, so whoever calls does it where nobody waits."""

from __future__ import annotations

import base64
import hashlib

import bcrypt

from quorate.api import errors

MIN_COST, DEFAULT_COST, MAX_COST = 4, 10, 31
MAX_BYTES = 72
"""What bcrypt looks at of a password."""
SALT_BYTES = 16

_STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_TO_BCRYPT = bytes.maketrans(_STANDARD, _BCRYPT)


def usable_cost(cost: int) -> int:
    """`cost`, or the default in place of one that bcrypt does not take."""
    return cost if MIN_COST <= cost <= MAX_COST else DEFAULT_COST


def hash_password(password: str, cost: int, salt: bytes) -> bytes:
    """The hash with `salt`, SALT_BYTES random ones. Raises PasswordTooLong."""
    given = password.encode()
    if len(given) > MAX_BYTES:
        raise errors.PasswordTooLong()
    return _hash(given, cost, salt)


def check_password(password: str, hashed: bytes) -> bool:
    """True when `hashed` was made of `password`; an empty hash is of none."""
    try:
        return bcrypt.checkpw(password.encode()[:MAX_BYTES], hashed)
    except ValueError:
        return False


def hash_replayed(password: str, name: str, revision: int) -> bytes:
    """The hash of a clear password in a log entry, as releases before 3.5 wrote them: with a salt that every member
    finds alike, and that is another one for every user and change."""
    salt = hashlib.sha256(b"%d %b" % (revision, name.encode())).digest()[:SALT_BYTES]
    return _hash(password.encode()[:MAX_BYTES], DEFAULT_COST, salt)


def _hash(password: bytes, cost: int, salt: bytes) -> bytes:
    assert len(salt) == SALT_BYTES
    encoded = base64.b64encode(salt).rstrip(b"=").translate(_TO_BCRYPT)
    return bcrypt.hashpw(password, b"$2a$%02d$%b" % (cost, encoded))
