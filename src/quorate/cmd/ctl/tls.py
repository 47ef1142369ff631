"""TLS for the command line."""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING

from quorate.cmd.ctl.failures import BAD_ARGS, Fail

if TYPE_CHECKING:
    from quorate.cmd.ctl.run import Settings


def context(settings: Settings) -> ssl.SSLContext:
    """Raises Fail for files that cannot be used."""
    if bool(settings.cert) != bool(settings.key):
        text = f"KeyFile and CertFile must both be present[key: {settings.key}, cert: {settings.cert}]"
        raise Fail(BAD_ARGS, text)
    for path in (settings.cert, settings.key, settings.cacert):
        if path:
            _check_readable(path)
    try:
        made = ssl.create_default_context(cafile=settings.cacert or None)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        if settings.skip_verify:
            made.check_hostname = False
            made.verify_mode = ssl.CERT_NONE
        if settings.cert or settings.key:
            made.load_cert_chain(settings.cert, settings.key)
    except (ssl.SSLError, OSError) as error:
        raise Fail(BAD_ARGS, f"tls: {error}") from None
    return made


def _check_readable(path: str) -> None:
    try:
        with open(path, "rb"):
            pass
    except OSError as error:
        raise Fail(BAD_ARGS, f"open {path}: {os.strerror(error.errno or 0).lower()}") from None
