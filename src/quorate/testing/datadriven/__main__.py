"""`python -m quorate.testing.datadriven FOLDER…`"""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

from quorate.testing.datadriven import Difference, ScriptError, run_script, scripts


def main(arguments: list[str]) -> int:
    if not arguments:
        print("usage: python -m quorate.testing.datadriven FOLDER…", file=sys.stderr)  # noqa: T201
        return 2
    passed = failed = 0
    for path in scripts([Path(argument) for argument in arguments]):
        complaint = _run(path)
        if complaint:
            failed += 1
            print(complaint)  # noqa: T201
        else:
            passed += 1
    print(f"{passed} passed, {failed} failed")  # noqa: T201
    return 0 if passed and not failed else 1


def _run(path: Path) -> str:
    """What is wrong with a script; empty if nothing."""
    try:
        differences = run_script(path.read_text(encoding="utf-8"))
    except (OSError, ScriptError) as error:
        return f"{path}: {error}"
    return "\n".join([_shown(path, it) for it in differences])


def _shown(path: Path, it: Difference) -> str:
    lines = difflib.unified_diff(it.expected.splitlines(), it.actual.splitlines(), "expected", "actual", lineterm="")
    return "\n".join([f"{path}:{it.line}: {it.command}", *lines])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
