"""What ends a command: exit codes, and the error that carries one."""

from __future__ import annotations

ERROR = 1
BAD_CONNECTION = 2
INVALID_INPUT = 3
BAD_FEATURE = 4
INTERRUPTED = 5
IO = 6
BAD_ARGS = 128


class Fail(Exception):
    """The command ends with `code`; the text stands behind `Error: ` on stderr."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code
        self.text = text


class Exit(Exception):
    """The command ends with `code`, and nothing more to say."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class UsageFail(Fail):
    """A command line that cannot be read."""

    def __init__(self, text: str) -> None:
        super().__init__(ERROR, text)


class CallFail(Fail):
    """A call was refused or got no answer. `status` is gRPC's number."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(ERROR, text)
        self.status = status
