"""Generate quorate.client.sync, the twin of the asyncio client for programs without a loop, from the client's source.

python tools/gen_sync.py           write the modules
python tools/gen_sync.py --check   exit 1 if a committed module is not what the source gives

A twin has the names, signatures and docstrings of the class it stands for. Its methods run those of the async object
through the portal, wrap what they return if that has a twin, too, and unwrap twins they are given; it reads public
attributes, which `__init__` sets. `quorate.client.twin` has marks for methods of another kind. What cannot be said this
way ends the generator with a line that names it.
"""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from itertools import islice
from pathlib import Path

SRC = Path(__file__).resolve().parent.parent / "src"
ROOM = "quorate.client"
TWINS = {
    "txn": ("Txn",),
    "leases": ("Lease",),
    "session": ("Lost", "Session"),
    "watch": ("Watch",),
    "admin": ("ClusterAdmin", "Maintenance", "AuthAdmin"),
    "client": ("Client",),
    "recipes.barrier": ("Barrier", "DoubleBarrier"),
    "recipes.cache": ("WatchCache",),
    "recipes.election": ("Election",),
    "recipes.kubernetes": ("Kubernetes",),
    "recipes.leasing": ("Leasing",),
    "recipes.lock": ("Lock",),
    "recipes.mirror": ("Mirror",),
    "recipes.namespace": ("Namespace",),
    "recipes.naming": ("Registry",),
    "recipes.ordering": ("Ordered",),
    "recipes.queues": ("Queue", "PriorityQueue"),
    "recipes.rwlock": ("RWLock", "RWHold"),
    "recipes.stm": ("StmTxn", "stm"),
}
"""Classes and functions of each module below ROOM. What is used stands before what uses it."""

INTERNAL = {"Wire", "Keeper"}
"""Who is made of these is not made by callers."""
RENAMED = {
    "__aenter__": "__enter__",
    "__aexit__": "__exit__",
    "__aiter__": "__iter__",
    "__anext__": "__next__",
    "StopAsyncIteration": "StopIteration",
    "AsyncIterator": "Iterator",
    "AsyncIterable": "Iterable",
    "AsyncGenerator": "Generator",
    "aiter": "iter",
    "anext": "next",
    "aclosing": "closing",
    "aclose": "close",
}
WORDS = {"`async with`": "`with`", "`async for`": "`for`", "await ": "", "async with ": "with ", "async for ": "for "}
Function = ast.FunctionDef | ast.AsyncFunctionDef


class Unsaid(Exception):
    """Something for which the generator has no words."""


def names_in(node: ast.AST | None) -> set[str]:
    return set() if node is None else {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def marks(node: Function | ast.ClassDef) -> set[str]:
    return {ast.unparse(decorator) for decorator in node.decorator_list}


def is_coroutine(node: Function) -> bool:
    return isinstance(node, ast.AsyncFunctionDef) and not is_generator(node)


def is_generator(node: Function) -> bool:
    return any(isinstance(each, ast.Yield) for each in ast.walk(node))


def all_args(node: Function) -> list[ast.arg]:
    given = node.args
    found = [*given.posonlyargs, *given.args, *([given.vararg] if given.vararg else [])]
    return [*found, *given.kwonlyargs, *([given.kwarg] if given.kwarg else [])]


class Translator(ast.NodeTransformer):
    """Code without `await`."""

    def visit_Await(self, node: ast.Await) -> ast.AST:
        return self.visit(node.value)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._plain(node, ast.FunctionDef)

    def visit_AsyncWith(self, node: ast.AsyncWith) -> ast.AST:
        return self._plain(node, ast.With)

    def visit_AsyncFor(self, node: ast.AsyncFor) -> ast.AST:
        return self._plain(node, ast.For)

    def visit_For(self, node: ast.For) -> ast.AST:
        match node:
            case ast.For(target=ast.Name(id=given), body=[ast.Expr(ast.Yield(ast.Name(id=told)))]) if given == told:
                return self.visit(ast.Expr(ast.YieldFrom(node.iter)))
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = RENAMED.get(node.name, node.name)
        return self.generic_visit(node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        node.attr = RENAMED.get(node.attr, node.attr)
        if isinstance(node.value, ast.Name) and node.value.id == "asyncio":
            if node.attr != "sleep":
                raise Unsaid(f"asyncio.{node.attr} has no sync form")
            node.value.id = "time"
        return self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> ast.AST:
        node.id = RENAMED.get(node.id, node.id)
        return node

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        """Awaitable[T] is T, Coroutine[Any, Any, T] too; generators return nothing."""
        if isinstance(node.value, ast.Name) and node.value.id == "Awaitable":
            return self.visit(node.slice)
        if isinstance(node.value, ast.Name) and node.value.id == "Coroutine" and isinstance(node.slice, ast.Tuple):
            return self.visit(node.slice.elts[-1])
        if isinstance(node.value, ast.Name) and node.value.id == "AsyncGenerator" and isinstance(node.slice, ast.Tuple):
            node.slice.elts.append(ast.Constant(None))
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        return node

    def _plain(self, node: ast.AST, kind: type[ast.AST]) -> ast.AST:
        fields = {name: getattr(node, name) for name in node._fields if name != "type_params"}
        if kind is ast.FunctionDef and "type_params" in ast.FunctionDef._fields:
            fields["type_params"] = []
        return self.visit(ast.copy_location(kind(**fields), node))


def translated(node: ast.AST) -> ast.AST:
    return ast.fix_missing_locations(Translator().visit(copy.deepcopy(node)))


def annotation(node: ast.expr | None) -> str:
    return "" if node is None else ast.unparse(translated(node))


def doc(text: str | None) -> str:
    """A docstring in the words of the sync form, as source."""
    if text is None:
        return ""
    for word, plain in (WORDS | RENAMED).items():
        text = text.replace(word, plain)
    holder = ast.parse('def f():\n    ""').body[0]
    assert isinstance(holder, ast.FunctionDef)
    holder.body = [ast.Expr(ast.Constant(text))]
    return ast.unparse(holder).partition("\n")[2].strip()


def indent(text: str) -> str:
    return "\n".join(f"    {line}" if line else line for line in text.splitlines())


class Module:
    """One module and its twin."""

    def __init__(self, name: str, homes: dict[str, str]) -> None:
        self.name = name
        self.homes = homes
        """By the name of a twin: its module below ROOM."""
        self.tree = ast.parse(source_of(name).read_text())
        self.imports: dict[str, str] = {}
        """By name: the statement that brings it."""
        self.defined: dict[str, ast.stmt] = {}
        for node in self.tree.body:
            self._learn(node)

    def _learn(self, node: ast.stmt) -> None:
        match node:
            case ast.ImportFrom(module=module):
                for alias in node.names:
                    known_as = f" as {alias.asname}" if alias.asname else ""
                    self.imports[alias.asname or alias.name] = f"from {module} import {alias.name}{known_as}"
            case ast.Import():
                for alias in node.names:
                    self.imports[alias.asname or alias.name] = ast.unparse(ast.Import([alias]))
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                self.defined[name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                self.defined[name] = node
            case ast.If():
                for each in node.body:
                    self._learn(each)

    def returned(self, name: str) -> ast.expr | None:
        """What a function of this module, or of another one of ours, returns."""
        node = self.defined.get(name)
        if node is None and self.imports.get(name, "").startswith(f"from {ROOM}."):
            home = self.imports[name].split()[1].removeprefix(f"{ROOM}.")
            node = Module(home, self.homes).defined.get(name)
        return node.returns if isinstance(node, ast.FunctionDef) else None

    def generate(self) -> str:
        """The source of the twin, not yet in shape."""
        parts = []
        for name in TWINS[self.name]:
            node = self.defined[name]
            if isinstance(node, ast.ClassDef):
                parts.append(Class(self, node).generate())
            elif isinstance(node, ast.AsyncFunctionDef):
                parts.append(self._function(node))
            else:
                raise Unsaid(f"{name} is neither a class nor an async function")
        body = "\n\n\n".join(parts)
        said = f"The sync twin of {ROOM}.{self.name}. Generated from it by tools/gen_sync.py: do not edit."
        return "\n".join([f'"""{said}"""', "", "from __future__ import annotations", "", *self._needed(body), "", body])

    def _needed(self, body: str) -> list[str]:
        lines = set()
        package, _, short = f"{ROOM}.{self.name}".rpartition(".")
        own = set(TWINS[self.name])
        for name in sorted(names_in(ast.parse(body)) - own):
            home = self.homes.get(name)
            if home is not None:
                lines.add(f"from {ROOM}.sync.{home} import {name}")
            elif name == "_source":
                lines.add(f"from {package} import {short} as _source")
            elif name == "Twin":
                lines.add(f"from {ROOM}.sync.base import Twin")
            elif name == "Call":
                lines.add(f"from {ROOM}.sync.portal import Call")
            elif name == "current":
                lines.add(f"from {ROOM}.sync.portal import current")
            elif name in ("Iterator", "Iterable", "Generator"):
                lines.add(f"from collections.abc import {name}")
            elif name == "closing":
                lines.add("from contextlib import closing")
            elif name == "time" and "asyncio" in self.imports:
                lines.add("import time")
            elif name in self.imports:
                lines.add(self.imports[name])
            elif name in self.defined:
                if isinstance(self.defined[name], ast.AsyncFunctionDef):
                    raise Unsaid(f"{self.name}.{name} is async and has no twin")
                lines.add(f"from {ROOM}.{self.name} import {name}")
        return sorted(lines)

    def _function(self, node: ast.AsyncFunctionDef) -> str:
        if "translated" in marks(node):
            return translation(node)
        given = ", ".join(self.passed(node, node.args.args))
        call = f"current().run(_source.{node.name}({given}))"
        return head(node) + indent(
            f"{doc(ast.get_docstring(node))}\nreturn {self.wrapped(call, node.returns, 'current()')}"
        )

    # Twins among arguments and results.

    def twins_in(self, node: ast.AST | None) -> set[str]:
        return names_in(node) & set(self.homes)

    def portal_of(self, node: Function) -> str:
        """That of the first twin among the arguments."""
        twins = (
            each.arg
            for each in all_args(node)
            if isinstance(each.annotation, ast.Name) and self.twins_in(each.annotation)
        )
        return "".join(f"{name}._portal" for name in islice(twins, 1))

    def passed(self, node: Function, positional: list[ast.arg]) -> list[str]:
        """The arguments as the async form is given them."""
        args = node.args
        given = [self._passed(each) for each in (*args.posonlyargs, *positional)]
        if args.vararg is not None:
            if self.twins_in(args.vararg.annotation):
                given.append(f"*[each._inner for each in {args.vararg.arg}]")
            else:
                given.append(f"*{args.vararg.arg}")
        given += [f"{each.arg}={self._passed(each)}" for each in args.kwonlyargs]
        return given + ([f"**{args.kwarg.arg}"] if args.kwarg else [])

    def _passed(self, arg: ast.arg) -> str:
        name, kind = arg.arg, arg.annotation
        if "Callable" in names_in(kind):
            return f"call.here({name})"
        if not self.twins_in(kind):
            return name
        match kind:
            case ast.Name():
                return f"{name}._inner"
            case ast.BinOp(left=ast.Name(), right=ast.Constant(value=None)):
                return f"None if {name} is None else {name}._inner"
            case ast.Subscript(value=ast.Name(id="Iterable" | "Sequence" | "list"), slice=ast.Name()):
                return f"[each._inner for each in {name}]"
        raise Unsaid(f"{self.name}: argument {ast.unparse(arg)} holds a twin")

    def wrapped(self, value: str, kind: ast.expr | None, portal: str) -> str:
        """`value` with twins for what has some."""
        if not self.twins_in(kind):
            return value
        match kind:
            case ast.Name(id=name):
                return f"{name}._of({value}, {portal})"
            case ast.BinOp(left=ast.Name(id=name), right=ast.Constant(value=None)):
                return f"{name}._of(found, {portal}) if (found := {value}) is not None else None"
            case ast.Subscript(value=ast.Name(id="list"), slice=ast.Name(id=name)):
                return f"[{name}._of(each, {portal}) for each in {value}]"
            case ast.Subscript(value=ast.Name(id="AsyncIterator"), slice=ast.Name(id=name)):
                return f"({name}._of(each, {portal}) for each in {value})"
        raise Unsaid(f"{self.name}: result {ast.unparse(kind) if kind else ''} holds a twin")


def head(node: Function, name: str | None = None) -> str:
    returns = f" -> {annotation(node.returns)}" if node.returns else ""
    args = ast.unparse(translated(node.args))
    return f"def {name or RENAMED.get(node.name, node.name)}({args}){returns}:\n"


def translation(node: Function | ast.ClassDef) -> str:
    """The node itself, in its sync form and without its mark."""
    plain = translated(node)
    assert isinstance(plain, ast.FunctionDef | ast.ClassDef)
    plain.decorator_list = [each for each in plain.decorator_list if ast.unparse(each) not in ("translated", "on_loop")]
    for each in ast.walk(plain):
        if isinstance(each, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(each) is not None:
            text = ast.parse(doc(ast.get_docstring(each))).body[0]
            each.body[0] = text
    return ast.unparse(plain)


class Class:
    """A class and its twin."""

    def __init__(self, module: Module, node: ast.ClassDef) -> None:
        self.module = module
        self.node = node
        self.name = node.name
        self.methods = {each.name: each for each in node.body if isinstance(each, Function)}
        self.base = self._base()
        self.attributes = self._attributes()
        self.private = self._private()

    def generate(self) -> str:
        if "translated" in marks(self.node):
            return translation(self.node)
        parts = [doc(ast.get_docstring(self.node))]
        parts += [f"_inner: _source.{self.name}"] if self.base is not None else []
        parts += [self._method(each) for name, each in self.methods.items() if name == "__init__"]
        for name, (kind, text) in self.attributes.items():
            if not name.startswith("_") or name in self.private:
                parts.append(self._attribute(name, kind, text))
        for name, each in self.methods.items():
            if name != "__init__" and (not name.startswith("_") or name.startswith("__") or name in self.private):
                parts.append(self._method(each))
        body = indent("\n\n".join(part for part in parts if part) or "pass")
        if self.base is None:
            return f"class {self.name}(Twin[_source.{self.name}]):\n{body}"
        return f"class {self.name}({self.base.name}):\n{body}"

    def _base(self) -> Class | None:
        """The class whose twin this one's is built on."""
        match self.node.bases:
            case []:
                return None
            case [ast.Name(id=name)] if name in self.module.homes:
                module = Module(self.module.homes[name], self.module.homes)
                node = module.defined[name]
                assert isinstance(node, ast.ClassDef)
                return Class(module, node)
        raise Unsaid(f"{self.name} has bases without twins")

    def _attributes(self) -> dict[str, tuple[ast.expr | None, str | None]]:
        """Type and docstring of what `__init__` sets."""
        found: dict[str, tuple[ast.expr | None, str | None]] = {}
        body = self.methods["__init__"].body if "__init__" in self.methods else []
        for node, after in zip(body, [*body, None][1:], strict=True):
            text = None
            if (
                isinstance(after, ast.Expr)
                and isinstance(after.value, ast.Constant)
                and isinstance(after.value.value, str)
            ):
                text = after.value.value
            match node:
                case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                    found[name] = node.annotation, text
                case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)]):
                    found[name] = self._inferred(node.value), text
        return {name: each for name, each in found.items() if self.base is None or name not in self.base.attributes}

    def _inferred(self, value: ast.expr) -> ast.expr | None:
        match value:
            case ast.Call(func=ast.Name(id=name)) if name[:1].isupper():
                return ast.Name(name)
            case ast.Call(func=ast.Name(id=name)):
                return self.module.returned(name)
            case ast.Name(id=name):
                return next((each.annotation for each in all_args(self.methods["__init__"]) if each.arg == name), None)
            case ast.Constant(value=bool() | int() | str() | bytes() | float()):
                return ast.Name(type(value.value).__name__)
        return None

    def _private(self) -> set[str]:
        """Private names that translated methods use."""
        found = set()
        for method in self.methods.values():
            if "translated" in marks(method):
                for each in ast.walk(method):
                    if isinstance(each, ast.Attribute) and ast.unparse(each.value) == "self" and each.attr[0] == "_":
                        if isinstance(each.ctx, ast.Store):
                            raise Unsaid(f"{self.name}.{method.name} is translated and sets self.{each.attr}")
                        found.add(each.attr)
        return found

    def _attribute(self, name: str, kind: ast.expr | None, text: str | None) -> str:
        if kind is None:
            raise Unsaid(f"{self.name}.{name} needs a type")
        value = self._wrapped(f"self._inner.{name}", kind)
        lines = [doc(text), f"return {value}"]
        return f"@property\ndef {name}(self) -> {annotation(kind)}:\n" + indent(
            "\n".join(line for line in lines if line)
        )

    def _wrapped(self, value: str, kind: ast.expr | None) -> str:
        if isinstance(kind, ast.Name) and kind.id in (self.name, "Self"):
            return f"self._self_or({value})"
        return self.module.wrapped(value, kind, "self._portal")

    def _method(self, node: Function) -> str:
        others = marks(node) - {"property", "translated", "on_loop"}
        if others:
            raise Unsaid(f"{self.name}.{node.name} is decorated with {', '.join(sorted(others))}")
        if "translated" in marks(node):
            return translation(node)
        if node.name == "__init__" and INTERNAL & set().union(*(names_in(each.annotation) for each in all_args(node))):
            return ""
        lines = [doc(ast.get_docstring(node)), *self._body(node)]
        top = "@property\n" if "property" in marks(node) else ""
        return top + head(node) + indent("\n".join(line for line in lines if line))

    def _body(self, node: Function) -> list[str]:
        given = ", ".join(self.module.passed(node, node.args.args[1:]))
        inner = f"self._inner.{node.name}"
        if node.name == "__init__":
            portal = self.module.portal_of(node)
            return [f"self._stand_for(_source.{self.name}({given}){f', {portal}' if portal else ''})"]
        if "property" in marks(node):
            return [f"return {self._wrapped(inner, node.returns)}"]
        if node.name in ("__aenter__", "__aiter__"):
            if not (isinstance(node.returns, ast.Name) and node.returns.id in (self.name, "Self")):
                raise Unsaid(f"{self.name}.{node.name} does not return itself")
            return [f"self._portal.run({inner}())"] * is_coroutine(node) + ["return self"]
        if node.name == "__anext__":
            value = self._wrapped(f"self._portal.run({inner}())", node.returns)
            return ["try:", f"    return {value}", "except StopAsyncIteration:", "    raise StopIteration from None"]
        if is_coroutine(node):
            before = ["call = Call[Any](self._portal)"] if "call.here(" in given else []
            before = [line.replace("Any", annotation(node.returns)) for line in before]
            value = f"{'call' if before else 'self._portal'}.run({inner}({given}))"
        elif names_in(node.returns) & {"AsyncIterator", "AsyncGenerator"}:
            before, value = [], f"self._portal.iterate({inner}({given}))"
        elif "on_loop" in marks(node):
            before, value = [], f"self._portal.call(lambda: {inner}({given}))"
        else:
            before, value = [], f"{inner}({given})"
        nothing = isinstance(node.returns, ast.Constant) and node.returns.value is None
        return [*before, value if nothing else f"return {self._wrapped(value, node.returns)}"]


def source_of(name: str) -> Path:
    return SRC.joinpath(*ROOM.split("."), *name.split(".")).with_suffix(".py")


def twin_of(name: str) -> Path:
    return SRC.joinpath(*ROOM.split("."), "sync", *name.split(".")).with_suffix(".py")


def shaped(text: str, path: Path) -> str:
    """As ruff wants it."""
    for words in (["format"], ["check", "--fix", "--quiet"], ["format"]):
        command = ["ruff", *words, f"--stdin-filename={path}", "-"]
        done = subprocess.run(
            [sys.executable, "-m", *command], input=text, capture_output=True, text=True, check=False, cwd=SRC.parent
        )
        if done.returncode:
            sys.exit(f"{path.name}: {done.stderr or done.stdout}\n{text}")
        text = done.stdout
    return text


def package(name: str, homes: dict[str, str]) -> str:
    """The front of a package of twins: all names of the async one."""
    module = Module(f"{name}.__init__", homes)
    lines = [f'"""The sync twin of {ROOM}.{name}, generated from it by tools/gen_sync.py: do not edit."""', ""]
    for each, line in module.imports.items():
        lines.append(f"from {ROOM}.sync.{homes[each]} import {each}" if each in homes else line)
    return "\n".join([*lines, "", ast.unparse(module.defined["__all__"])])


def generate() -> dict[Path, str]:
    """The source of every twin, by path."""
    homes = {name: module for module, names in TWINS.items() for name in names}
    made = {twin_of(name): Module(name, homes).generate() for name in TWINS}
    for name in sorted({name.rpartition(".")[0] for name in TWINS} - {""}):
        made[twin_of(f"{name}.__init__")] = package(name, homes)
    return {path: shaped(text, path) for path, text in made.items()}


def stale() -> list[str]:
    """Names of generated modules that are missing or differ from what their source gives."""
    fresh = generate()
    return sorted(path.name for path, text in fresh.items() if not path.exists() or path.read_text() != text)


if __name__ == "__main__":
    try:
        if "--check" in sys.argv[1:]:
            if names := stale():
                sys.exit(f"not current, run tools/gen_sync.py: {', '.join(names)}")
        else:
            for path, text in generate().items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text)
    except Unsaid as error:
        sys.exit(f"no sync form: {error}")
