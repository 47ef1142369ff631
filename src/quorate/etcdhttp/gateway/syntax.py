"""JSON text: the values of a body, where one of them lies, and why a text is none.

What is wrong is told in the words of Go's JSON decoder, which clients of etcd know. Values come as Python has them, but
objects are tuples of (name, value), so that a name that stands twice is seen, and numbers keep their text.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn


class BodyError(ValueError):
    """A body that is not what it should be; the text is for the client."""


EXPLAINED = 65_536
"""Characters of the longest text that is searched, slowly, for what is wrong with it."""


MAX_DEPTH = 1000
"""Objects and arrays inside each other; about as many as the reader of JSON takes."""
TOO_DEEP = "exceeded max depth"


class Number:
    """A number as it was written."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text


def _no_constant(name: str) -> NoReturn:
    """NaN and its like are Python's, not JSON's."""
    raise ValueError(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=tuple, parse_int=Number, parse_float=Number, parse_constant=_no_constant, strict=True
)
_SPACE = re.compile(r"[ \t\n\r]*")
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9A-Fa-f]{4})*"')
_NUMBER = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_MARKS = re.compile(rb'["\\{}\[\]]')
_NOT_BLANK = re.compile(rb"[^ \t\n\r]")
_STEP = 65_536
"""Bytes searched for the end of an object before others get their turn."""
_SHOWN = 64
"""Bytes looked at of what should be an object and is none."""


def to_text(body: bytes) -> str:
    """The text of a body. Bytes that are no UTF-8 survive as surrogates: they only matter where they are used."""
    return body.decode("utf-8", "surrogateescape")


def read_value(text: str) -> Any:
    """The first value of a text; what comes behind it is not looked at. None for a text without one.

    Raises BodyError.
    """
    start = skip_space(text, 0)
    if start == len(text):
        return None
    try:
        return _DECODER.raw_decode(text, start)[0]
    except RecursionError:
        raise BodyError(TOO_DEEP) from None
    except ValueError:
        raise BodyError(explain(text, start)) from None


def skip_space(text: str, at: int) -> int:
    """Index of the next character that is no white space."""
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()


def token_at(text: str, at: int) -> str:
    """The token that begins at `at` in a valid text, as written; of an object or array its bracket."""
    if text[at] in "{[":
        return text[at]
    return text[at : _DECODER.raw_decode(text, at)[1]]


def locate(text: str, path: list[int], name: bool) -> int:
    """Index of the value that `path` leads to in a valid text: of each object or array on the way the number of the
    member to go into. With `name` the index of that member's name."""
    at = skip_space(text, 0)
    for depth, wanted in enumerate(path):
        in_object = text[at] == "{"
        for number in range(wanted + 1):
            start = at = skip_space(text, at + 1)
            if in_object:
                at = skip_space(text, _DECODER.raw_decode(text, at)[1])
                at = skip_space(text, at + 1)
            if number < wanted:
                at = skip_space(text, _DECODER.raw_decode(text, at)[1])
        if name and depth == len(path) - 1:
            return start
    return at


def line_and_column(text: str, at: int) -> tuple[int, int]:
    """Both count from 1, in characters."""
    return text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)


class ValueSplitter:
    """The objects of a body that comes in pieces, one after the other with or without white space between them."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._held = bytearray()
        self._start = 0
        """Where the next object begins, or white space before it."""
        self._seen = 0
        self._depth = 0
        self._quoted = False

    @property
    def idle(self) -> bool:
        """Whether `next` can do nothing until more of the body comes."""
        return self._seen >= len(self._held)

    def feed(self, piece: bytes) -> None:
        """More of the body came."""
        del self._held[: self._start]
        self._seen -= self._start
        self._start = 0
        self._held += piece

    def next(self) -> str | None:
        """The text of the next object. None when it is not whole, or, while not `idle`, not found yet.

        Raises BodyError for what is no object, or too large.
        """
        held = self._held
        if not self._depth:
            first = _NOT_BLANK.search(held, self._start)
            self._start = self._seen = len(held) if first is None else first.start()
            if first is None:
                return None
            if first[0] != b"{":
                self._refuse()
        stop = min(self._seen + _STEP, len(held))
        while (mark := _MARKS.search(held, self._seen, stop)) is not None:
            self._seen = mark.end()
            kind = mark[0]
            if kind == b"\\":
                self._seen += self._quoted
            elif kind == b'"':
                self._quoted = not self._quoted
            elif not self._quoted:
                self._depth += 1 if kind in b"{[" else -1
                if self._depth > MAX_DEPTH:
                    raise BodyError(TOO_DEEP)
                if not self._depth:
                    start, self._start = self._start, self._seen
                    return to_text(bytes(held[start : self._seen]))
        # A backslash may be the last byte looked at; what it escapes is skipped when it comes.
        self._seen = max(self._seen, stop)
        if self._seen - self._start > self._limit:
            raise BodyError(f"request of more than {self._limit} bytes")
        return None

    def end(self) -> None:
        """No more will come. Raises BodyError when an object is cut short."""
        if self._depth:
            raise BodyError(explain(to_text(bytes(self._held)), self._start))

    def _refuse(self) -> NoReturn:
        text = to_text(bytes(self._held[self._start : self._start + _SHOWN]))
        token = "[" if text[0] == "[" else token_at(text, 0) if read_value(text) is not None else "null"
        raise BodyError(f"proto: syntax error (line 1:1): unexpected token {token}")


def explain(text: str, start: int) -> str:
    """Why the value that begins at `start` is none. Of a long text only that it is none."""
    if len(text) - start > EXPLAINED:
        return "invalid JSON"
    try:
        _Complaint(text).value(start)
    except BodyError as error:
        return str(error)
    except RecursionError:
        return TOO_DEEP
    return "invalid JSON"


class _Complaint:
    """Reads a text that is wrong somewhere, to say what stands where something else should."""

    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, at: int) -> int:
        """End of the value that begins at `at`. Raises BodyError."""
        at = skip_space(self._text, at)
        kind = self._peek(at)
        if kind == "{":
            return self._object(at + 1)
        if kind == "[":
            return self._array(at + 1)
        if kind == '"':
            return self._string(at)
        if kind == "-" or kind in "0123456789":
            return self._number(at)
        for word in ("true", "false", "null"):
            if word[0] == kind:
                return self._literal(at, word)
        raise self._complaint(at, "looking for beginning of value")

    def _object(self, at: int) -> int:
        at = skip_space(self._text, at)
        if self._peek(at) == "}":
            return at + 1
        while True:
            at = skip_space(self._text, at)
            if self._peek(at) != '"':
                raise self._complaint(at, "looking for beginning of object key string")
            at = skip_space(self._text, self._string(at))
            if self._peek(at) != ":":
                raise self._complaint(at, "after object key")
            at = skip_space(self._text, self.value(at + 1))
            if self._peek(at) == "}":
                return at + 1
            if self._peek(at) != ",":
                raise self._complaint(at, "after object key:value pair")
            at += 1

    def _array(self, at: int) -> int:
        at = skip_space(self._text, at)
        if self._peek(at) == "]":
            return at + 1
        while True:
            at = skip_space(self._text, self.value(at))
            if self._peek(at) == "]":
                return at + 1
            if self._peek(at) != ",":
                raise self._complaint(at, "after array element")
            at += 1

    def _string(self, at: int) -> int:
        whole = _STRING.match(self._text, at)
        if whole is not None:
            return whole.end()
        at += 1
        while True:
            char = self._peek(at)
            if char < " ":
                raise self._complaint(at, "in string literal")
            if char == "\\":
                at += 1
                escaped = self._peek(at)
                if escaped == "u":
                    for digit in range(at + 1, at + 5):
                        if self._peek(digit) not in "0123456789abcdefABCDEF":
                            raise self._complaint(digit, "in \\u hexadecimal character escape")
                elif escaped not in '"\\/bfnrt':
                    raise self._complaint(at, "in string escape code")
            at += 1

    def _number(self, at: int) -> int:
        whole = _NUMBER.match(self._text, at)
        if whole is None:
            self._peek(at + 1)
            raise self._complaint(at + 1, "in numeric literal")
        at = whole.end()
        following = self._text[at : at + 1]
        if following == "." and "." not in whole[0] and "e" not in whole[0].lower():
            self._peek(at + 1)
            raise self._complaint(at + 1, "after decimal point in numeric literal")
        if following in ("e", "E") and "e" not in whole[0].lower():
            at += 1 + (self._peek(at + 1) in "+-")
            self._peek(at)
            raise self._complaint(at, "in exponent of numeric literal")
        return at

    def _literal(self, at: int, word: str) -> int:
        for number, wanted in enumerate(word):
            if self._peek(at + number) != wanted:
                raise self._complaint(at + number, f"in literal {word} (expecting {_quoted(wanted)})")
        return at + len(word)

    def _peek(self, at: int) -> str:
        if at >= len(self._text):
            raise BodyError("unexpected EOF")
        return self._text[at]

    def _complaint(self, at: int, where: str) -> BodyError:
        return BodyError(f"invalid character {_quoted(self._text[at])} {where}")


def _quoted(char: str) -> str:
    special = {"'": "'\\''", '"': "'\"'", "\n": "'\\n'", "\t": "'\\t'", "\r": "'\\r'", "\\": "'\\\\'"}
    if char in special:
        return special[char]
    return f"'{char}'" if char.isprintable() else f"'\\x{ord(char) & 0xFF:02x}'"
