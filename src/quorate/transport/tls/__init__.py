"""TLS for listeners and for callers: what is shown to the other end, whom it is believed, what is checked beyond that.

    TlsSettings ──► ServerTls ──► Acceptor     a listener's side; `mux.serve` uses it
                └─► ClientTls                  a caller's side; `HttpClient` uses it

- `settings`     file names and rules; etcd's words for versions and cipher suites
- `contexts`     settings into the SSLContext of one side
- `sides`        the two sides: their files are looked at before every handshake, and read again when they have changed
- `checks`       what X.509 leaves open: common name, host names, the caller's address, revoked serial numbers
- `alerts`       the other end hears why a handshake fails
- `acceptor`     connections are handed on after handshake and checks; a slow or unwelcome one delays nobody
- `self_signed`  a certificate for those who bring none

A file that cannot be used when a side is made is an error; one that breaks later is a warning, and what was read before
stays in use. No tickets are given, so that a connection shows its certificate anew; where TLS 1.2 goes on with a
session without one, all checks but that of the CA are made again, and a new CA ends all sessions.
"""

from quorate.transport.tls.acceptor import Acceptor
from quorate.transport.tls.settings import TlsError, TlsSettings, check_versions, known_cipher_suites
from quorate.transport.tls.sides import ClientTls, ServerTls

__all__ = [
    "Acceptor",
    "ClientTls",
    "ServerTls",
    "TlsError",
    "TlsSettings",
    "check_versions",
    "known_cipher_suites",
]
