"""The generator of the sync twin: what it makes of what, and what it refuses."""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

TOOL = Path(__file__).resolve().parents[2] / "tools" / "gen_sync.py"


@pytest.fixture
def tool(tmp_path: Path) -> ModuleType:
    """The generator, with sources of the test's own."""
    spec = importlib.util.spec_from_file_location("gen_sync_for_tests", TOOL)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.SRC = tmp_path
    module.TWINS = {"sample": ("Thing", "Other", "run")}
    return module


def made(tool: ModuleType, source: str) -> str:
    path = tool.source_of("sample")
    path.parent.mkdir(parents=True, exist_ok=True)
    names = {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef | ast.AsyncFunctionDef)}
    tool.TWINS = {"sample": tuple(name for name in ("Thing", "Other", "run") if name in names)}
    path.write_text(source)
    homes = dict.fromkeys(tool.TWINS["sample"], "sample")
    text = str(tool.Module("sample", homes).generate())
    ast.parse(text)
    return text


def test_a_function_of_the_callers_is_called_where_the_caller_waits(tool: ModuleType) -> None:
    text = made(
        tool,
        """
import asyncio
from collections.abc import Awaitable, Callable
from quorate.client.twin import translated

@translated
async def run(thing, function: Callable[[int], Awaitable[int]], tries: int = 3) -> int:
    '''Say `await run(...)`.'''
    for n in range(tries):
        if found := await function(n):
            return found
        await asyncio.sleep(0)
    async with thing:
        return await anext(thing)
""",
    )
    assert "await" not in text and "asyncio" not in text and "async" not in text.partition("import")[2]
    names: dict[str, object] = {}
    exec(text, names)
    told: list[int] = []

    def function(n: int) -> int:
        told.append(n)
        return n * 5

    assert names["run"](None, function) == 5  # type: ignore[operator]
    assert told == [0, 1]


def test_twins_are_taken_off_and_put_on(tool: ModuleType) -> None:
    text = made(
        tool,
        """
class Other:
    pass

class Thing:
    def __init__(self, other: Other, size: int = 1) -> None:
        self.size = size
        self.other = other
        '''Whose it is.'''

    async def swap(self, other: Other | None, *more: Other) -> Other:
        return self.other

    def others(self) -> list[Other]:
        return [self.other]

    async def each(self) -> AsyncIterator[Other]:
        yield self.other

    def itself(self) -> Thing:
        return self
""",
    )
    for line in (
        "self._stand_for(_source.Thing(other._inner, size), other._portal)",
        "return Other._of(self._inner.other, self._portal)",
        "self._inner.swap(None if other is None else other._inner, *[each._inner for each in more])",
        "return [Other._of(each, self._portal) for each in self._inner.others()]",
        "return (Other._of(each, self._portal) for each in self._portal.iterate(self._inner.each()))",
        "return self._self_or(self._inner.itself())",
        "def size(self) -> int:",
    ):
        assert line in text, text


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("async def run(things: dict[str, Thing]) -> None: ...\nclass Thing: ...", "things: dict"),
        ("class Thing:\n    async def run(self) -> tuple[Thing, int]: ...", "tuple"),
        ("class Thing:\n    def __init__(self) -> None:\n        self.x = made()", "Thing.x needs a type"),
        ("class Thing:\n    @staticmethod\n    def make() -> int: ...", "decorated with staticmethod"),
        ("class Thing(Base): ...", "Thing has bases without twins"),
        ("@translated\nasync def run() -> None:\n    await asyncio.gather()", "asyncio.gather has no sync form"),
        ("class Thing:\n    @translated\n    async def run(self) -> None:\n        self._x = 1", "sets self._x"),
        ("async def help() -> None: ...\n@translated\nasync def run() -> None:\n    await help()", "help is async"),
    ],
)
def test_what_has_no_sync_form_is_named(tool: ModuleType, source: str, said: str) -> None:
    with pytest.raises(tool.Unsaid, match=said):
        made(tool, source)
