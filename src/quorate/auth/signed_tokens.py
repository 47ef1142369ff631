"""Signed tokens: JWT with the user's name and the auth revision at the time of signing (RFC 7519).

Nothing is kept about them, so a signature holds until it runs out. But the revision in it is checked like any other:
after the next change of the table such a token reads and writes no more.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from typing import TYPE_CHECKING, Any

from quorate.api import errors
from quorate.api.internal import Caller
from quorate.auth.token_options import InvalidAuthOptions, TokenOptions

if TYPE_CHECKING:
    from jwt.algorithms import Algorithm


MAX_VERIFIED = 4096
"""Tokens whose signature need not be checked again: a check takes longer than what most calls ask for."""


class SignedTokens:
    """Signs tokens, and tells whose a token is."""

    def __init__(self, options: TokenOptions) -> None:
        """Raises InvalidAuthOptions for keys that are missing or do not fit the method."""
        import jwt  # slow, and few use it

        # Said once, at the start, by whoever reads `weakness`; not with every token.
        warnings.filterwarnings("ignore", category=jwt.InsecureKeyLengthWarning)
        self._jwt = jwt
        self._method = options.sign_method
        self._verified: dict[str, tuple[Caller, float, float]] = {}
        self._ttl = options.ttl
        try:
            algorithm = jwt.get_algorithm_by_name(options.sign_method)
            self._private, self._public = _keys(algorithm, options)
            self.weakness = algorithm.check_key_length(self._public) or ""
            """What is to be said against the key: that it is too short."""
        except (ValueError, TypeError, NotImplementedError, jwt.PyJWTError) as err:
            raise InvalidAuthOptions(str(err)) from None

    def sign(self, caller: Caller, now: float) -> str:
        """A token for `caller`; `now` in Unix seconds. Raises TokenVerifyOnly."""
        if self._private is None:
            raise errors.TokenVerifyOnly()
        claims = {"username": caller.name, "revision": caller.revision, "exp": int(now + self._ttl)}
        return self._jwt.encode(claims, self._private, self._method)

    def verify(self, token: str, now: float) -> Caller | None:
        """Whose token it is; None for what is no token, is not signed by the key, lacks a claim or has run out."""
        known = self._verified.get(token)
        if known is None:
            known = self._check(token)
            if known is None:
                return None
            if len(self._verified) >= MAX_VERIFIED:
                self._verified.clear()
            self._verified[token] = known
        caller, begin, end = known
        return caller if begin <= now < end else None

    def _check(self, token: str) -> tuple[Caller, float, float] | None:
        """Whose token it is, and from when to when it holds; None for what is none."""
        options: Any = {"verify_exp": False, "verify_nbf": False, "verify_iat": False, "verify_aud": False}
        try:
            claims = self._jwt.decode(token, self._public, [self._method], options=options)
        except (self._jwt.PyJWTError, ValueError, TypeError):
            return None
        name: Any = claims.get("username")
        revision: Any = claims.get("revision")
        if not isinstance(name, str) or type(revision) not in (int, float) or not 0 <= revision < 1 << 64:
            return None
        begin, end = claims.get("nbf", -math.inf), claims.get("exp", math.inf)
        if type(begin) not in (int, float) or type(end) not in (int, float):
            return None
        return Caller(name, int(revision)), begin, end


def fingerprint(token: str) -> str:
    """What may be logged of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _keys(algorithm: Algorithm, options: TokenOptions) -> tuple[Any, Any]:
    """The key to sign with, None for none, and the one to verify with.

    Raises InvalidAuthOptions, ValueError, InvalidKeyError.
    """
    if options.sign_method.startswith("HS"):
        if not options.private_key:
            raise InvalidAuthOptions("no key", "auth: missing key data")
        secret = algorithm.prepare_key(options.private_key)
        return secret, secret
    private = _load(algorithm, options.private_key, "sign") if options.private_key else None
    public = _load(algorithm, options.public_key, "verify") if options.public_key else None
    if private is None and public is None:
        raise InvalidAuthOptions("no key", "auth: missing key data")
    if private is not None:
        own = private.public_key()
        if public is not None and public != own:
            raise InvalidAuthOptions("two keys", "auth: public and private keys don't match")
        public = own
    return private, public


def _load(algorithm: Algorithm, pem: bytes, use: str) -> Any:
    key = algorithm.prepare_key(pem)
    if not hasattr(key, use):
        raise ValueError(f"a key that cannot {use}")
    return key
