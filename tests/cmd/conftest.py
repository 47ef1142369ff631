"""The command sends log lines to the standard error of the moment; give the log back afterwards."""

import logging
from collections.abc import Iterator

import pytest

from quorate.pkg.jsonlog import ROOT


@pytest.fixture(autouse=True)
def _restore_log() -> Iterator[None]:
    root = logging.getLogger(ROOT)
    handlers, propagate, level = list(root.handlers), root.propagate, root.level
    yield
    root.handlers[:], root.propagate, root.level = handlers, propagate, level
