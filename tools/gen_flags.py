"""Generate the table of flags in docs/operations/configuration.md from the flags that `etcd` has.

python tools/gen_flags.py           write it
python tools/gen_flags.py --check   exit 1 if the committed page is not current
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from quorate.cmd.config_file import NO_KEYS, SECTIONS
from quorate.cmd.flags import build_flags
from quorate.cmd.older_flags import IGNORED, REMOVED
from quorate.pkg.goflag import Flag, show

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations" / "configuration.md"
BEGIN, END = "<!-- flags: begin -->\n", "<!-- flags: end -->\n"


def table() -> str:
    """A table for each group of flags, and lists of those that are no flags any more."""
    keys = {name: f"{section}.{key}" for section, found in SECTIONS.items() for key, name in found.items()}
    lines: list[str] = []
    for title, flags in groupby(build_flags().flags.values(), key=lambda flag: flag.section):
        lines += [f"### {title}", "", "| flag | default | key in the file | meaning |", "|---|---|---|---|"]
        lines += [_row(flag, keys) for flag in flags]
        lines.append("")
    lines.append(
        "Not flags any more, but told of: " + ", ".join(f"`--{name}` ({why})" for name, why in REMOVED.items())
    )
    lines.append("")
    lines.append("Taken, and meaning nothing, as in every etcd: " + ", ".join(f"`--{name}`" for name in IGNORED) + ".")
    return "\n".join(lines) + "\n"


def _row(flag: Flag, keys: dict[str, str]) -> str:
    default = show(flag.default)
    key = keys.get(flag.name, "none" if flag.name in NO_KEYS else "")
    cells = (f"`--{flag.name}`", f"`{default}`" if default else "", f"`{key}`" if "." in key else key, flag.usage)
    return "| " + " | ".join(cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells) + " |"


def page() -> str:
    """The page as it is to be."""
    text = PAGE.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + "\n" + table() + "\n" + END + after


def stale() -> list[str]:
    """The name of the page when it is not current."""
    return [] if page() == PAGE.read_text("utf-8") else [PAGE.name]


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        if names := stale():
            sys.exit(f"not current, run tools/gen_flags.py: {', '.join(names)}")
    else:
        PAGE.write_text(page(), "utf-8")
