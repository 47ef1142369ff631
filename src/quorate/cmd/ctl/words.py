"""Lines of input cut into words: quotes keep words together, and double ones know the escapes of Go's literals."""

from __future__ import annotations

import re

from quorate.cmd.ctl.failures import INVALID_INPUT, Fail
from quorate.pkg.gotext import unquote

_WORD = re.compile(r""""(?:[^"\\]|\\.)*"|'[^']*'|[^'"\s]\S*[^'"\s]?""")
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')


def split_words(line: str) -> list[str]:
    """The words of a line. Raises Fail for a literal that is none."""
    words = []
    for word in _WORD.findall(line):
        if word[0] == "'":
            words.append(word[1:-1])
        elif word[0] == '"' and len(word) > 1 and word[-1] == '"':
            words.append(literal(word).decode("utf-8", "surrogateescape"))
        else:
            words.append(word)
    return words


def literal(word: str) -> bytes:
    """The bytes of a string in double quotes. Raises Fail."""
    try:
        return unquote(word[1:-1])
    except ValueError as error:
        raise Fail(INVALID_INPUT, str(error)) from None
