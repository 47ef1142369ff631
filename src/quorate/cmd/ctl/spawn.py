"""Commands of others, run by `watch`, `lock`: their environment, and how they end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


class Ended(Exception):
    """The command did not end well: `code` is its exit code, -1 without one."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.text = text
        self.code = code


def spawn(words: Sequence[str], environ: Mapping[str, str], more: Mapping[str, str]) -> None:
    """Run a command with more variables than this program has, and wait for it. Raises Ended."""
    if "/" not in words[0] and shutil.which(words[0], path=environ.get("PATH", "")) is None:
        raise Ended(f'exec: "{words[0]}": executable file not found in $PATH', 1)
    sys.stdout.flush()
    try:
        code = subprocess.run(list(words), env={**environ, **more}, check=False).returncode
    except OSError as error:
        raise Ended(f"fork/exec {words[0]}: {os.strerror(error.errno or 0).lower()}", 1) from None
    if code < 0:
        import signal

        raise Ended(f"signal: {signal.strsignal(-code) or -code}".lower(), -1)
    if code:
        raise Ended(f"exit status {code}", code)
