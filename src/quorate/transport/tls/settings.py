"""What one side of TLS is to be: files, whom it takes, which versions and cipher suites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ssl import TLSVersion

VERSIONS = {"TLS1.2": TLSVersion.TLSv1_2, "TLS1.3": TLSVersion.TLSv1_3}

TLS13_SUITES = frozenset({"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"})
"""Always on offer where TLS 1.3 is: nobody chooses among them."""

_EXCHANGES = {"RSA": "", "ECDHE_RSA": "ECDHE-RSA-", "ECDHE_ECDSA": "ECDHE-ECDSA-"}
_CIPHERS = {
    "AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "AES_128_CBC_SHA256": "AES128-SHA256",
    "AES_128_CBC_SHA": "AES128-SHA",
    "AES_256_CBC_SHA": "AES256-SHA",
    "3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "RC4_128_SHA": "RC4-SHA",
    "CHACHA20_POLY1305_SHA256": "CHACHA20-POLY1305",
    "CHACHA20_POLY1305": "CHACHA20-POLY1305",
}
_UNPAIRED = {("RSA", "CHACHA20_POLY1305_SHA256"), ("RSA", "CHACHA20_POLY1305"), ("ECDHE_ECDSA", "3DES_EDE_CBC_SHA")}

SUITES = {
    f"TLS_{exchange}_WITH_{cipher}": prefix + name
    for exchange, prefix in _EXCHANGES.items()
    for cipher, name in _CIPHERS.items()
    if (exchange, cipher) not in _UNPAIRED
}
"""The names that OpenSSL has for the suites of TLS 1.2, by the names of the registry that etcd takes."""


class TlsError(Exception):
    """Settings or files that no handshake can be made with; the text says which and why."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """One end of encrypted connections, both when it listens and when it calls. Files are PEM; "" is none."""

    cert_file: str = ""
    key_file: str = ""
    client_cert_file: str = ""
    client_key_file: str = ""
    """Shown when calling, in place of the first pair."""
    trusted_ca_file: str = ""
    """Who is believed; "" is whom this machine believes. A listener that has one asks for certificates."""
    client_cert_auth: bool = False
    """A listener asks for certificates."""
    crl_file: str = ""
    """Serial numbers that a listener takes no more."""
    allowed_cns: tuple[str, ...] = ()
    allowed_hostnames: tuple[str, ...] = ()
    """The other end, called or calling, must have one of these names."""
    check_client_address: bool = False
    """A caller whose certificate has names must be where they say."""
    cipher_suites: tuple[str, ...] = ()
    min_version: str = "TLS1.2"
    max_version: str = ""
    protocols: tuple[str, ...] = ("h2", "http/1.1")
    """What a listener speaks (ALPN), best first."""
    trust_all: bool = False
    """A caller believes everybody: for certificates that sign themselves."""

    @property
    def empty(self) -> bool:
        """True without any certificate."""
        return not self.cert_file and not self.key_file

    @property
    def asks_for_certificate(self) -> bool:
        return self.client_cert_auth or bool(self.trusted_ca_file)


def check_versions(min_version: str, max_version: str, cipher_suites: Iterable[str]) -> None:
    """Raises TlsError for versions that do not exist or do not fit, or suites that no version would use."""
    for version in (min_version, max_version):
        if version and version not in VERSIONS:
            raise TlsError(f'unexpected TLS version "{version}" (must be one of: {", ".join(VERSIONS)})')
    if min_version and max_version and VERSIONS[min_version] > VERSIONS[max_version]:
        raise TlsError(f"min version ({min_version}) is greater than max version ({max_version})")
    if list(cipher_suites) and min_version == "TLS1.3":
        raise TlsError("cipher suites cannot be configured when only TLS1.3 is enabled")


def known_cipher_suites(suites: Iterable[str]) -> list[str]:
    """The names of TLS 1.2 suites as OpenSSL has them. Raises TlsError at the first unknown one."""
    found = []
    for suite in suites:
        if suite in SUITES:
            found.append(SUITES[suite])
        elif suite not in TLS13_SUITES:
            raise TlsError(f'unexpected TLS cipher suite "{suite}"')
    return found
