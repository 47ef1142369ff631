"""Certificates for tests: an authority, who is certified by it, and whom it has revoked.

authority = Authority(directory)
server = authority.issue("server", hosts=["127.0.0.1"])      server.cert, server.key
authority.revoke(authority.issue("thief"))                   authority.crl
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)
PEM = serialization.Encoding.PEM


class Issued(NamedTuple):
    """Paths of PEM files, and the serial number."""

    cert: str
    key: str
    serial: int

    @property
    def told_serial(self) -> str:
        """The serial number as members name it: its bytes in hex, so that a digit 0 may lead."""
        return self.serial.to_bytes((self.serial.bit_length() + 7) // 8, "big").hex()


class Authority:
    """Signs certificates into files under `directory`; `ca` is the path of its own certificate."""

    def __init__(self, directory: Path, name: str = "ca", parent: Authority | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.name = name
        self.parent = parent
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.revoked: list[int] = []
        self.ca = str(directory / f"{name}.pem")
        self.crl = str(directory / f"{name}.crl")
        own = _builder(self.subject, self.key, -DAY, 10 * DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        own = own.add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), critical=False)
        signer = parent or self
        self.certificate = own.issuer_name(signer.subject).sign(signer.key, hashes.SHA256())
        Path(self.ca).write_bytes(self.certificate.public_bytes(PEM))

    def issue(
        self,
        name: str,
        *,
        hosts: Sequence[str] = (),
        cn: str | None = None,
        begins: timedelta = -DAY,
        ends: timedelta = DAY,
    ) -> Issued:
        """A certificate for `hosts`, for both ends of a connection, in files called `name`. Times count from now.

        With `cn=""` it has no common name."""
        key = ec.generate_private_key(ec.SECP256R1())
        common = name if cn is None else cn
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)] if common else [])
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = _builder(subject, key, begins, ends).issuer_name(self.subject).add_extension(usage, critical=False)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key())
        builder = builder.add_extension(issuer, critical=False)
        if hosts:
            names = x509.SubjectAlternativeName([_name(host) for host in hosts])
            builder = builder.add_extension(names, critical=False)
        signed = builder.sign(self.key, hashes.SHA256())
        chain = signed.public_bytes(PEM) + (b"" if self.parent is None else self.certificate.public_bytes(PEM))
        cert, private = self.directory / f"{name}.pem", self.directory / f"{name}-key.pem"
        _replace(private, key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        _replace(cert, chain)
        return Issued(str(cert), str(private), signed.serial_number)

    def revoke(self, *issued: Issued) -> str:
        """Write the list of all that have been revoked; its path."""
        self.revoked += [one.serial for one in issued]
        now = datetime.now(UTC)
        builder = x509.CertificateRevocationListBuilder(self.subject, now - DAY, now + DAY)
        for serial in self.revoked:
            entry = x509.RevokedCertificateBuilder(serial, now - DAY).build()
            builder = builder.add_revoked_certificate(entry)
        _replace(Path(self.crl), builder.sign(self.key, hashes.SHA256()).public_bytes(PEM))
        return self.crl


def _builder(
    subject: x509.Name, key: ec.EllipticCurvePrivateKey, begins: timedelta, ends: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins)
        .not_valid_after(now + ends)
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(path.name + ".new")
    new.write_bytes(content)
    new.replace(path)
