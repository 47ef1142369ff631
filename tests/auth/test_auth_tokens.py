"""Tokens: whose they are, how long they live, and what is refused as none."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from quorate.api import errors
from quorate.auth import (
    Caller,
    InvalidAuthOptions,
    SignedTokens,
    SimpleTokens,
    TokenOptions,
    check_password,
    fingerprint,
    hash_password,
    parse_token_options,
    signed_tokens,
)
from quorate.auth.simple_tokens import index_of, token_prefix

SECRET = b"a secret that is long enough for every one of the three hashes, sixty-four bytes!"


def test_a_token_lives_from_use_to_use() -> None:
    tokens = SimpleTokens(10.0)
    tokens.assign("t", "u", 0.0)
    tokens.assign("idle", "v", 1.0)
    assert tokens.use("t", 9.0) == "u"
    assert tokens.use("t", 18.9) == "u"
    tokens.expire(18.9)
    assert len(tokens) == 1
    assert tokens.use("idle", 18.9) is None
    assert tokens.use("t", 28.9) is None
    assert len(tokens) == 0


def test_an_expired_token_is_forgotten_without_being_asked_for() -> None:
    tokens = SimpleTokens(10.0)
    for number in range(5):
        tokens.assign(f"t{number}", "u", float(number))
    tokens.use("t0", 5.0)
    tokens.expire(13.0)
    assert [tokens.use(f"t{number}", 13.0) for number in range(5)] == ["u", None, None, None, "u"]


def test_a_prefix_is_sixteen_letters_and_comes_from_the_dice() -> None:
    made = [token_prefix(random.Random(seed).randrange) for seed in (1, 1, 2)]
    assert made[0] == made[1] != made[2]
    assert all(re.fullmatch("[a-zA-Z]{16}", prefix) for prefix in made)


@pytest.mark.parametrize(
    ("token", "index"),
    [("abc.12", 12), ("abc", None), ("abc.", None), ("a.b", None), ("a.1.2", None), ("a.-1", None), ("a.١", None)]
    + [("a." + "9" * 21, None)],
)
def test_the_index_is_read_from_what_looks_like_a_token(token: str, index: int | None) -> None:
    assert index_of(token) == index


# Signed ones.


def pem(key: Any) -> tuple[bytes, bytes]:
    """Private and public half."""
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return private, public


RSA = pem(rsa.generate_private_key(65537, 2048))
CURVES = {"256": ec.SECP256R1(), "384": ec.SECP384R1(), "512": ec.SECP521R1()}
EC = {size: pem(ec.generate_private_key(curve)) for size, curve in CURVES.items()}
ED = pem(ed25519.Ed25519PrivateKey.generate())


def keys_for(method: str) -> tuple[bytes, bytes]:
    kind, size = method[:2], method[2:]
    return {"HS": (SECRET, b""), "RS": RSA, "PS": RSA, "Ed": ED}.get(kind) or EC[size]


METHODS = [kind + size for kind in ("HS", "RS", "PS", "ES") for size in ("256", "384", "512")] + ["EdDSA"]


@pytest.mark.parametrize("method", METHODS)
def test_what_is_signed_is_verified_by_the_public_half_alone(method: str) -> None:
    private, public = keys_for(method)
    signer = SignedTokens(TokenOptions("jwt", 60.0, method, public, private))
    token = signer.sign(Caller("u", 7), 1000.0)
    assert signer.verify(token, 1059.0) == Caller("u", 7)
    assert signer.verify(token, 1060.0) is None
    assert signer.verify(token, 1059.0) == Caller("u", 7)
    assert jwt.decode(token, options={"verify_signature": False}) == {"username": "u", "revision": 7, "exp": 1060}
    if public:
        verifier = SignedTokens(TokenOptions("jwt", 60.0, method, public, b""))
        assert verifier.verify(token, 1000.0) == Caller("u", 7)
        with pytest.raises(errors.TokenVerifyOnly):
            verifier.sign(Caller("u", 7), 0.0)
    stranger = SignedTokens(TokenOptions("jwt", 60.0, "HS256", b"", SECRET + b"!"))
    assert stranger.verify(token, 1000.0) is None


@pytest.mark.parametrize(
    "claims",
    [
        {},
        {"username": "u"},
        {"revision": 1},
        {"username": 1, "revision": 1},
        {"username": "u", "revision": "1"},
        {"username": "u", "revision": True},
        {"username": "u", "revision": -1},
        {"username": "u", "revision": 1, "exp": "soon"},
        {"username": "u", "revision": 1, "exp": 5},
        {"username": "u", "revision": 1, "nbf": 50},
    ],
)
def test_15676_a_token_without_a_name_or_a_revision_is_none(claims: dict[str, Any]) -> None:
    tokens = SignedTokens(TokenOptions("jwt", 60.0, "HS256", b"", SECRET))
    assert tokens.verify(jwt.encode(claims, SECRET, "HS256"), 10.0) is None


def test_tokens_that_were_verified_are_not_kept_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signed_tokens, "MAX_VERIFIED", 3)
    tokens = SignedTokens(TokenOptions("jwt", 60.0, "HS256", b"", SECRET))
    for number in range(10):
        caller = Caller("u", number)
        assert tokens.verify(tokens.sign(caller, 0.0), 1.0) == caller
        assert len(tokens._verified) <= 3


def test_a_revision_may_be_written_with_a_point() -> None:
    tokens = SignedTokens(TokenOptions("jwt", 60.0, "HS256", b"", SECRET))
    assert tokens.verify(jwt.encode({"username": "u", "revision": 3.0}, SECRET, "HS256"), 10.0) == Caller("u", 3)


def test_a_token_signed_by_another_method_is_none() -> None:
    """Least of all one that takes the public key for a secret, or that is not signed at all."""
    tokens = SignedTokens(TokenOptions("jwt", 60.0, "RS256", RSA[1], b""))
    claims = {"username": "root", "revision": 1}
    assert tokens.verify(jwt.encode(claims, None, "none"), 0.0) is None  # type: ignore[arg-type]
    assert tokens.verify(jwt.encode(claims, SECRET, "HS256"), 0.0) is None
    for junk in ("", ".", "a.b.c", "\udcff", "x" * 10_000):
        assert tokens.verify(junk, 0.0) is None


# Options.


def test_options_are_read(tmp_path: Path) -> None:
    (tmp_path / "pub").write_bytes(RSA[1])
    read = lambda path: (tmp_path / path).read_bytes()  # noqa: E731
    assert parse_token_options("simple", read) == TokenOptions()
    assert parse_token_options("jwt,sign-method=RS256,pub-key=pub,ttl=10m,x=y", read) == TokenOptions(
        "jwt", 600.0, "RS256", RSA[1], b"", ("x",)
    )
    assert "BEGIN" not in repr(parse_token_options("jwt,sign-method=RS256,pub-key=pub", read))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bad",
        "JWT",
        "jwt",
        "jwt,sign-method=none",
        "jwt,sign-method=XX256",
        "jwt,sign-method",
        "jwt,sign-method=HS256=",
        "jwt,sign-method=HS256,sign-method=HS256",
        "jwt,sign-method=RS256,pub-key=missing",
        "jwt,sign-method=RS256,ttl=ten",
    ],
)
def test_other_options_are_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidAuthOptions, match=r"^auth: invalid auth options$"):
        parse_token_options(text, lambda path: (tmp_path / path).read_bytes())


@pytest.mark.parametrize(
    ("method", "public", "private", "text"),
    [
        ("RS256", b"", b"", "auth: missing key data"),
        ("HS256", RSA[1], b"", "auth: missing key data"),
        ("RS256", b"junk", b"", "auth: invalid auth options"),
        ("RS256", EC["256"][1], b"", "auth: invalid auth options"),
        ("ES256", EC["384"][1], b"", "auth: invalid auth options"),
        ("RS256", b"", RSA[1], "auth: invalid auth options"),
        ("RS256", pem(rsa.generate_private_key(65537, 1024))[1], RSA[0], "auth: public and private keys don't match"),
    ],
)
def test_keys_that_do_not_fit_are_refused(method: str, public: bytes, private: bytes, text: str) -> None:
    with pytest.raises(InvalidAuthOptions) as caught:
        SignedTokens(TokenOptions("jwt", 60.0, method, public, private))
    assert str(caught.value) == text


# What is stored of a password, and what is told of a token.


def test_hashes_are_those_of_etcd() -> None:
    hashed = hash_password("pw", 4, bytes(range(16)))
    assert re.fullmatch(rb"\$2a\$04\$[./A-Za-z0-9]{53}", hashed)
    assert check_password("pw", hashed)
    assert not check_password("pw2", hashed)
    go = b"$2a$10$XajjQvNhvvRt5GSeFk1xFeyqRrsxkhBkUiQeg0dt.wU1qD4aFDcga"  # of "allmine", by Go's bcrypt
    assert check_password("allmine", go)
    with pytest.raises(errors.PasswordTooLong):
        hash_password("x" * 73, 4, bytes(16))
    assert check_password("x" * 100, hash_password("x" * 72, 4, bytes(16)))


def test_a_fingerprint_tells_nothing_of_the_token() -> None:
    assert fingerprint("abcdefghijklmnop.7") == fingerprint("abcdefghijklmnop.7") != fingerprint("abcdefghijklmnop.8")
    assert re.fullmatch("[0-9a-f]{16}", fingerprint("\udcff"))
