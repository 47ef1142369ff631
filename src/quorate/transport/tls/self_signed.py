"""A certificate that signs itself, for those who want encryption and bring no certificate.

    <directory>/cert.pem   the certificate
    <directory>/key.pem    its key, for the owner's eyes only

It is used again at the next start as long as it is valid and names the hosts that are wanted.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from quorate.pkg.jsonlog import get_log
from quorate.transport.tls.settings import TlsError

if TYPE_CHECKING:
    from cryptography import x509

log = get_log(__name__)

YEAR = timedelta(days=365)
CLOCK_ERROR = timedelta(minutes=5)
"""How far behind the clocks of others may be that must believe it already."""


def ensure_self_signed(directory: Path, hosts: Iterable[str], years: int) -> tuple[str, str]:
    """Paths of the certificate and of the key for `hosts`, made if they are not there. Raises TlsError, OSError."""
    if years <= 0:
        raise TlsError("selfSignedCertValidity is invalid,it should be greater than 0")
    hosts = sorted(set(hosts))
    cert, key = (directory / "cert.pem").absolute(), (directory / "key.pem").absolute()
    if not (cert.exists() and key.exists() and _fits(cert, hosts)):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        _make(cert, key, hosts, years)
        log.info("created a self-signed certificate", path=str(cert), hosts=hosts, years=years)
    return str(cert), str(key)


def _fits(path: Path, hosts: Iterable[str]) -> bool:
    """Whether there is a certificate for these hosts, valid now."""
    from cryptography import x509

    try:
        found = x509.load_pem_x509_certificate(path.read_bytes())
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        log.warn("replacing a self-signed certificate that cannot be read", path=str(path))
        return False
    if not found.not_valid_before_utc <= datetime.now(UTC) < found.not_valid_after_utc:
        log.warn("replacing a self-signed certificate that is not valid now", path=str(path))
        return False
    if any(_name(host) not in names for host in hosts):
        log.warn("replacing a self-signed certificate for other hosts", path=str(path), hosts=list(hosts))
        return False
    return True


def _make(cert: Path, key: Path, hosts: Iterable[str], years: int) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "etcd")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(subject, subject, private.public_key(), x509.random_serial_number())
        .not_valid_before(now - CLOCK_ERROR)
        .not_valid_after(now + years * YEAR)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(private, hashes.SHA256())
    )
    form = serialization.PrivateFormat.PKCS8
    secret = private.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    # The key first: with a certificate that has no key yet, the next start would make both anew.
    _write(key, secret, 0o600)
    _write(cert, made.public_bytes(serialization.Encoding.PEM), 0o644)


def _name(host: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Whole or not at all."""
    new = path.with_name(path.name + ".tmp")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
