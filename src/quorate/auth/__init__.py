"""Who may do what: users, roles, permissions, and the tokens by which callers are known again.

    caller ──token──► tokens ──► Caller(name, auth revision) ──into the entry's header──► AuthStore.check, where applied

What it knows: the table of users and roles, in memory and in the database alike, the rules for changing it, who may
read or write which range. What it refuses to know: requests of the key space (`apply` knows which of their keys need
what), metadata and certificates (`v3rpc` finds the token), waiting (`server`), clocks and dice (both are arguments).

    user   name, bcrypt hash, roles                    one that holds role `root` may do everything
    role   name, permissions                           READ, WRITE or READWRITE on a range of keys
    range  one key · [key, end) · end "\\0": all keys from key on

The auth revision begins at 1 and counts every change of the table. An entry carries the revision at which its caller
was found out; where it is applied, an older one than the table's is refused, so that nobody acts by a permission that
was taken from him meanwhile. All of this follows from the log, so every member judges alike (etcd 14571, 11651).

Sources: etcd's rules and formats; RFC 7519 for tokens that are signed.
"""

from quorate.api.internal import NOBODY, Caller
from quorate.auth.passwords import check_password, hash_password
from quorate.auth.signed_tokens import SignedTokens, fingerprint
from quorate.auth.simple_tokens import SimpleTokens
from quorate.auth.store import ROOT, AuthStore
from quorate.auth.token_options import DEFAULT_TOKEN_TTL, InvalidAuthOptions, TokenOptions, parse_token_options

__all__ = [
    "DEFAULT_TOKEN_TTL",
    "NOBODY",
    "ROOT",
    "AuthStore",
    "Caller",
    "InvalidAuthOptions",
    "SignedTokens",
    "SimpleTokens",
    "TokenOptions",
    "check_password",
    "fingerprint",
    "hash_password",
    "parse_token_options",
]
