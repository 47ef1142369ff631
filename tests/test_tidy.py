"""The habits of the house that a machine can check: colours, sizes, and that generated modules are current."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "quorate"

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 70
NO_COROUTINES = ("api", "raft", "storage", "lease", "auth", "membership", "txn", "apply", "transport/http2")
PURE = (
    "api",
    "raft",
    "transport/http2",
    "storage/mvcc",
    "storage/schema",
    "lease",
    "auth",
    "membership",
    "txn",
    "apply",
)
IMPURE_MODULES = {
    "asyncio",
    "concurrent",
    "io",
    "lmdb",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "tempfile",
    "threading",
    "time",
    "uuid",
    "uvloop",
}


def modules(*rooms: str) -> Iterator[Path]:
    for room in rooms or ("",):
        yield from (path for path in sorted((SOURCE / room).rglob("*.py")) if "/api/pb/" not in path.as_posix())


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


@pytest.mark.parametrize("path", list(modules(*PURE)), ids=name_of)
def test_machines_and_state_import_nothing_that_touches_the_world(path: Path) -> None:
    assert not IMPURE_MODULES & set(imported(ast.parse(path.read_text())))


@pytest.mark.parametrize("path", list(modules(*NO_COROUTINES)), ids=name_of)
def test_nothing_interleaves_inside_a_step_an_apply_or_a_read(path: Path) -> None:
    kinds = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)]


@pytest.mark.parametrize("path", list(modules()), ids=name_of)
def test_a_module_is_one_idea_and_a_function_fits_a_screen(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= MAX_MODULE_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno is not None
            lines = node.end_lineno - node.lineno + 1
            assert lines <= MAX_FUNCTION_LINES, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("path", list(modules()), ids=name_of)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize(("tool", "needs"), [("gen_proto", "grpc_tools"), ("gen_sync", "ruff")])
def test_generated_modules_are_current(tool: str, needs: str) -> None:
    if importlib.util.find_spec(needs) is None:
        pytest.skip(f"{needs} is not installed")
    spec = importlib.util.spec_from_file_location(tool, ROOT / "tools" / f"{tool}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    assert module.stale() == []


def test_constraints_name_no_registry_and_pin_every_dependency() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.]+", line) for line in lines), lines
    pinned = {line.partition("==")[0].lower().replace("_", "-") for line in lines}
    project = (ROOT / "pyproject.toml").read_text()
    sections = re.findall(r"^(?:dependencies|dev) = \[\n(.*?)^\]", project, re.MULTILINE | re.DOTALL)
    assert len(sections) == 2
    wanted = re.findall(r'^    "([a-z0-9-]+)', "".join(sections), re.MULTILINE)
    assert not {name for name in wanted if name not in pinned}
