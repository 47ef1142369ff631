"""Flags into the sides of TLS: which files, which rules, and what is said of those that do not fit."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from quorate.cmd.flags import build_flags
from quorate.cmd.settings import read_settings
from quorate.embed import Config, ConfigError
from quorate.embed.security import Security
from quorate.testing.certificates import Authority, Issued
from quorate.transport.tls import TlsError, self_signed

DAY = timedelta(days=1)
PLAIN, SAFE = "http://127.0.0.1:1", "https://127.0.0.1:2"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def own(authority: Authority) -> Issued:
    return authority.issue("own", hosts=["127.0.0.1"])


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    found: list[str] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record.getMessage())

    keep = Keep(logging.WARNING)
    root = logging.getLogger("quorate")
    root.addHandler(keep)
    yield found
    root.removeHandler(keep)


def given(*flags: str) -> Config:
    known = build_flags()
    return read_settings(known, known.parse(flags), {}).config


def test_every_flag_reaches_its_side(authority: Authority, own: Issued) -> None:
    crl = authority.revoke()
    clients = (f"--cert-file={own.cert}", f"--key-file={own.key}", f"--trusted-ca-file={authority.ca}")
    names = ("--client-cert-auth", f"--client-crl-file={crl}", "--client-cert-allowed-hostname=a.example,b.example")
    peers = (f"--peer-cert-file={own.cert}", f"--peer-key-file={own.key}", f"--peer-trusted-ca-file={authority.ca}")
    called = (f"--peer-client-cert-file={own.cert}", f"--peer-client-key-file={own.key}", f"--peer-crl-file={crl}")
    rules = ("--peer-client-cert-auth", "--peer-cert-allowed-cn=a,b", "--peer-skip-client-san-verification")
    limits = ("--tls-max-version=TLS1.2", "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256")
    urls = (f"--listen-client-urls={SAFE},{PLAIN}", f"--listen-peer-urls={SAFE}")
    security = Security.prepare(given(*clients, *names, *peers, *called, *rules, *limits, *urls))
    assert security.client_listener(PLAIN) is None
    client, peer = security.client_listener(SAFE), security.peer_listener(SAFE)
    assert client is not None
    assert peer is not None
    assert client.settings.cert_file == own.cert
    assert client.settings.trusted_ca_file == authority.ca
    assert client.settings.client_cert_auth
    assert client.settings.crl_file == crl
    assert client.settings.allowed_hostnames == ("a.example", "b.example")
    assert not client.settings.check_client_address
    assert peer.settings == security.peer_caller.settings
    assert peer.settings.client_cert_file == own.cert
    assert peer.settings.crl_file == crl
    assert peer.settings.allowed_cns == ("a", "b")
    assert not peer.settings.check_client_address
    for side in (client, peer):
        assert side.settings.max_version == "TLS1.2"
        assert side.settings.cipher_suites == ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",)
    again = Security.prepare(given(*peers, "--peer-cert-allowed-hostname=a.example", f"--listen-peer-urls={SAFE}"))
    assert again.peer_caller.settings.allowed_hostnames == ("a.example",)
    assert again.peer_caller.settings.check_client_address


def test_listeners_of_http_alone_are_encrypted_like_the_others(authority: Authority, own: Issued) -> None:
    """GHSA-3wh4-j44w-pg92: one set of rules for all client URLs."""
    files = (f"--cert-file={own.cert}", f"--key-file={own.key}", f"--trusted-ca-file={authority.ca}")
    web = SAFE.replace(":2", ":3")
    security = Security.prepare(given(*files, f"--listen-client-urls={SAFE}", f"--listen-client-http-urls={web}"))
    assert security.client_listener(web) is security.client_listener(SAFE)
    alone = Security.prepare(given(*files, f"--listen-client-http-urls={web}"))
    assert alone.client_listener(web) is not None
    with pytest.raises(TlsError, match=f"must be provided for client url {web} with HTTPS scheme"):
        Security.prepare(given(f"--listen-client-http-urls={web}"))


def test_the_server_is_told_that_certificates_say_who_calls() -> None:
    assert given("--client-cert-auth").server_config().client_cert_auth
    assert not given().server_config().client_cert_auth


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"tls_min_version": "TLS1.1"}, 'unexpected TLS version "TLS1.1" (must be one of: TLS1.2, TLS1.3)'),
        ({"tls_max_version": "SSL3"}, 'unexpected TLS version "SSL3" (must be one of: TLS1.2, TLS1.3)'),
        (
            {"tls_min_version": "TLS1.3", "tls_max_version": "TLS1.2"},
            "min version (TLS1.3) is greater than max version (TLS1.2)",
        ),
        (
            {"tls_min_version": "TLS1.3", "cipher_suites": ["TLS_RSA_WITH_AES_128_CBC_SHA"]},
            "cipher suites cannot be configured when only TLS1.3 is enabled",
        ),
    ],
)
def test_versions_are_checked_with_the_flags(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**settings).server_config()
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            (f"--listen-client-urls={SAFE}",),
            f"TLS key/cert (--cert-file, --key-file) must be provided for client url {SAFE} with HTTPS scheme",
        ),
        (
            (f"--listen-peer-urls={SAFE}",),
            f"TLS key/cert (--peer-cert-file, --peer-key-file) must be provided for peer url {SAFE} with HTTPS scheme",
        ),
        ((f"--listen-peer-urls={SAFE}", "--peer-cert-file=x"), "KeyFile and CertFile must both be present[key: , cert"),
        (("--client-cert-file=/nope", "--client-key-file=/nope", "--auto-tls"), "open /nope: no such file or dir"),
        ((f"--listen-client-urls={SAFE}", "--auto-tls", "--cipher-suites=foo"), 'unexpected TLS cipher suite "foo"'),
    ],
)
def test_what_is_missing_is_named(flags: tuple[str, ...], text: str, tmp_path: Path) -> None:
    with pytest.raises(TlsError) as caught:
        Security.prepare(given(*flags, f"--data-dir={tmp_path}"))
    assert str(caught.value).startswith(text)


def test_certificates_that_nobody_uses_are_warned_of(authority: Authority, own: Issued, warnings: list[str]) -> None:
    files = (f"--cert-file={own.cert}", f"--key-file={own.key}")
    Security.prepare(given(*files, "--client-cert-auth", f"--listen-client-urls={PLAIN}"))
    assert warnings == [
        "scheme is HTTP while key and cert files are present; ignoring key and cert files",
        "scheme is HTTP while --client-cert-auth is enabled; ignoring client cert auth for this URL",
    ]
    warnings.clear()
    Security.prepare(given(*files, f"--client-crl-file={authority.revoke()}", f"--listen-client-urls={SAFE}"))
    assert warnings == ["nobody is asked for a certificate: --trusted-ca-file is not set"]
    warnings.clear()
    Security.prepare(given(*files, "--auto-tls", f"--listen-client-urls={SAFE}"))
    assert warnings == ["ignoring client auto TLS since certs given"]


def auto(place: Path, *more: str) -> x509.Certificate:
    """What a member makes for its peers."""
    urls = ("--listen-peer-urls=https://0.0.0.0:2", "--initial-advertise-peer-urls=https://m1.example:2")
    security = Security.prepare(given("--peer-auto-tls", f"--data-dir={place}", *urls, *more))
    settings = security.peer_caller.settings
    assert settings.trust_all
    assert settings.cert_file == str(place / "fixtures" / "peer" / "cert.pem")
    return x509.load_pem_x509_certificate(Path(settings.cert_file).read_bytes())


def test_a_self_signed_certificate_is_kept_as_long_as_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warnings: list[str]
) -> None:
    made = auto(tmp_path)
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["m1.example"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["0.0.0.0"]
    assert auto(tmp_path) == made
    assert warnings == []
    moved = auto(tmp_path, "--initial-advertise-peer-urls=https://m2.example:2")
    assert moved != made
    assert warnings.pop() == "replacing a self-signed certificate for other hosts"
    monkeypatch.setattr(self_signed, "YEAR", -DAY / 1440)
    Path(tmp_path / "fixtures" / "peer" / "cert.pem").write_text("broken")
    ended = auto(tmp_path)
    assert warnings.pop() == "replacing a self-signed certificate that cannot be read"
    assert ended.not_valid_after_utc < datetime.now(UTC)
    monkeypatch.undo()
    assert auto(tmp_path).not_valid_after_utc > datetime.now(UTC) + 364 * DAY
    assert warnings == ["replacing a self-signed certificate that is not valid now"]
    assert not list((tmp_path / "fixtures" / "peer").glob("*.tmp"))
