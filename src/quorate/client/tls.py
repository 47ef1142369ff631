"""How a client proves itself and whom it trusts."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files; what is left out is the system's. They are read when a connection is first made."""

    ca: str | Path | None = None
    cert: str | Path | None = None
    key: str | Path | None = None
    server_name: str | None = None
    """The name to find in the server's certificate, instead of the endpoint's host."""
    insecure_skip_verify: bool = False
    """Trust anybody: for tests."""

    def context(self) -> ssl.SSLContext:
        """Raises OSError, ssl.SSLError."""
        made = ssl.create_default_context(cafile=self.ca)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.insecure_skip_verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            made.load_cert_chain(self.cert, self.key)
        return made
