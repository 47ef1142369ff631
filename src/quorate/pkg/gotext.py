"""Text as Go's standard library writes and reads it: quoted strings, JSON strings, numbers and their errors."""

from __future__ import annotations

_ESCAPES = {7: "\\a", 8: "\\b", 12: "\\f", 10: "\\n", 13: "\\r", 9: "\\t", 11: "\\v", 34: '\\"', 92: "\\\\"}
_JSON_ESCAPES = {34: '\\"', 92: "\\\\", 10: "\\n", 13: "\\r", 9: "\\t"}
_JSON_HIDDEN = frozenset("<>&\u2028\u2029")

RANGES = {64: (-(2**63), 2**63 - 1), 32: (-(2**31), 2**31 - 1)}


def quote(text: bytes | str) -> str:
    """A string literal, as `%q` writes it."""
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogateescape")
    out = []
    for char in text.decode("utf-8", "surrogateescape"):
        point = ord(char)
        if point in _ESCAPES:
            out.append(_ESCAPES[point])
        elif char.isprintable():
            out.append(char)
        elif 0xDC80 <= point <= 0xDCFF:
            out.append(f"\\x{point - 0xDC00:02x}")
        elif point < 0x80:
            out.append(f"\\x{point:02x}")
        else:
            out.append(f"\\u{point:04x}" if point < 0x10000 else f"\\U{point:08x}")
    return '"' + "".join(out) + '"'


def unquote(text: str) -> bytes:
    """The bytes of a string literal without its quotes. Raises ValueError."""
    simple = {"a": 7, "b": 8, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11, '"': 34, "\\": 92}
    sizes = {"x": 2, "u": 4, "U": 8}
    out = bytearray()
    pos = 0
    while pos < len(text):
        char = text[pos]
        pos += 1
        if char == '"' or char == "\n":
            raise ValueError("invalid syntax")
        if char != "\\":
            out += char.encode("utf-8", "surrogateescape")
            continue
        kind = text[pos : pos + 1]
        pos += 1
        if kind in simple and kind:
            out.append(simple[kind])
        elif kind in sizes and kind:
            digits = text[pos : pos + sizes[kind]]
            pos += sizes[kind]
            if len(digits) != sizes[kind]:
                raise ValueError("invalid syntax")
            point = int(digits, 16)
            out += bytes((point,)) if kind == "x" else chr(point).encode()
        elif kind and kind in "01234567":
            digits = text[pos - 1 : pos + 2]
            pos += 2
            if len(digits) != 3 or int(digits, 8) > 255:
                raise ValueError("invalid syntax")
            out.append(int(digits, 8))
        else:
            raise ValueError("invalid syntax")
    return bytes(out)


def json_string(text: str) -> str:
    """A string as `encoding/json` writes it: also what HTML would take for its own is escaped."""
    if text.isascii() and text.isprintable() and not _needs_escape(text):
        return f'"{text}"'
    out = []
    for char in text:
        point = ord(char)
        if point in _JSON_ESCAPES:
            out.append(_JSON_ESCAPES[point])
        elif point < 0x20 or char in _JSON_HIDDEN:
            out.append(f"\\u{point:04x}")
        else:
            out.append("\\ufffd" if 0xD800 <= point <= 0xDFFF else char)
    return '"' + "".join(out) + '"'


def _needs_escape(text: str) -> bool:
    return any(char in text for char in '"\\<>&')


def parse_int(text: str, base: int = 10, bits: int = 64) -> int:
    """A signed number as `strconv.ParseInt` reads it. Raises ValueError with its words."""
    low, high = RANGES[bits]
    return _parse(text, base, low, high, "ParseInt")


def parse_uint(text: str, base: int = 10) -> int:
    """An unsigned 64-bit number as `strconv.ParseUint` reads it. Raises ValueError with its words."""
    if text[:1] in ("+", "-"):
        raise ValueError(f"strconv.ParseUint: parsing {quote(text)}: invalid syntax")
    return _parse(text, base, 0, 2**64 - 1, "ParseUint")


def parse_bool(text: str) -> bool:
    """Raises ValueError with the words of `strconv.ParseBool`."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise ValueError(f"strconv.ParseBool: parsing {quote(text)}: invalid syntax")


def si_bytes(size: int) -> str:
    """A number of bytes for people, in powers of 1000 and two digits: 45 kB, 1.2 MB."""
    if size < 10:
        return f"{size} B"
    power = (len(str(size)) - 1) // 3
    tenths = (size * 20 + 1000**power) // (2 * 1000**power)  # the nearest one, halves upwards
    number = f"{tenths / 10:.1f}" if tenths < 100 else f"{tenths / 10:.0f}"
    return f"{number} {('B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB')[power]}"


def _parse(text: str, base: int, low: int, high: int, function: str) -> int:
    try:
        # Go takes an underscore only where the literal names its base, and no spaces at all.
        if not text.isascii() or text != text.strip() or ("_" in text and base):
            raise ValueError
        number = _literal(text) if base == 0 else int(text, base)
        if base and text.lstrip("+-").lower()[:2] in ("0x", "0b", "0o") and base in (16, 8, 2):
            raise ValueError
    except ValueError:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: invalid syntax") from None
    if not low <= number <= high:
        raise ValueError(f"strconv.{function}: parsing {quote(text)}: value out of range")
    return number


def _literal(text: str) -> int:
    """A number whose prefix names its base; a leading zero is base 8."""
    digits = text.lstrip("+-")
    if len(digits) > 1 and digits[0] == "0" and digits[1] in "01234567_":
        return int(text.replace(digits, "0o" + digits[1:], 1), 0)
    return int(text, 0)
