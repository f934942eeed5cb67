"""The rules of the house that a parser can see, over every file of the tree."""

import ast
import re
from collections import defaultdict

from tests.house.sources import PACKAGES, Source, sources

CODE = sources(*PACKAGES)
TESTS = sources("tests")
EVERYTHING = (*CODE, *TESTS, *sources("examples"))

MAX_FILE_LINES = 350
MAX_FUNCTION_LINES = 40
MAX_POSITIONAL = 5

# Nothing received may become code. The one exception makes a loop over a batch out of our own templates.
EXECUTES = {"eval", "exec", "compile", "__import__", "builtins.eval", "builtins.exec"}
MAY_EXECUTE = {"operators/codegen.py"}
MAY_UNPICKLE = {"cluster/jobs/pickled_graph.py"}  # what a submitter signed; reached through cluster.jobs.code alone
UNPICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}
WAITS_BLINDLY = {"time.sleep", "asyncio.sleep", "sleep"}
SAYS_NOTHING = re.compile(r"(^|_)(utils?|helpers?|common|misc)(_|$)")
TYPE_SUFFIX = re.compile(r"(Base|Abstract|Impl|Mixin|Msg)$")


def _found(faults: list[str]) -> str:
    return "\n".join(faults)


def test_nobody_sleeps() -> None:
    """Code waits for what it wants, with a deadline; tests move a ManualClock. `asyncio.sleep(0)` gives way only."""
    faults = [
        f"{s.name}:{line} {name}({arguments})"
        for s in EVERYTHING
        for name, arguments, line in s.calls()
        if name in WAITS_BLINDLY and (name, arguments) != ("asyncio.sleep", "0")
    ]
    assert not _found(faults)


def test_tests_use_no_mock() -> None:
    """A port has a verified implementation for tests instead."""
    faults = [f"{s.name}:{line} {name}" for s in EVERYTHING for name, line in s.imports() if "mock" in name.split(".")]
    assert not _found(faults)


def test_nothing_received_becomes_code() -> None:
    calls = [
        f"{s.name}:{line} {name}"
        for s in CODE
        for name, _, line in s.calls()
        if name in EXECUTES and s.name not in MAY_EXECUTE
    ]
    imports = [
        f"{s.name}:{line} {name}"
        for s in CODE
        for name, line in s.imports()
        if name.split(".")[0] in UNPICKLES and s.name not in MAY_UNPICKLE
    ]
    assert not _found(calls + imports)


def test_no_except_is_bare() -> None:
    faults = [
        f"{s.name}:{node.lineno}"
        for s in EVERYTHING
        for node in ast.walk(s.tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert not _found(faults)


def test_no_file_is_too_long() -> None:
    lengths = {s.name: len(s.text.splitlines()) for s in EVERYTHING}
    assert not _found([f"{name}: {n} lines" for name, n in lengths.items() if n > MAX_FILE_LINES])


def test_no_function_is_longer_than_a_screen() -> None:
    faults = [
        f"{s.name}:{f.lineno} {f.name}: {_len_body(f)} lines"
        for s in EVERYTHING
        for f in s.functions()
        if _len_body(f) > MAX_FUNCTION_LINES
    ]
    assert not _found(faults)


def test_no_public_function_takes_too_many_positional_arguments() -> None:
    """Commands are apart: their parameters are options on a command line."""
    faults = [
        f"{s.name}:{f.lineno} {f.name}: {num}"
        for s in CODE
        for f in s.functions()
        if (num := len([a for a in (*f.args.posonlyargs, *f.args.args) if a.arg not in ("self", "cls")]))
        > MAX_POSITIONAL
        if not f.name.startswith("_") and not _is_command(s)
    ]
    assert not _found(faults)


def test_every_module_says_what_it_does() -> None:
    assert not _found([s.name for s in EVERYTHING if not ast.get_docstring(s.tree)])


def test_no_name_says_nothing() -> None:
    files = [s.name for s in EVERYTHING if SAYS_NOTHING.search(s.name.rsplit("/", 1)[-1].removesuffix(".py"))]
    classes = [f"{s.name}:{c.lineno} {c.name}" for s in CODE for c in s.classes() if TYPE_SUFFIX.search(c.name)]
    assert not _found(files + classes)


def test_no_two_public_classes_have_one_name() -> None:
    homes: dict[str, list[str]] = defaultdict(list)
    for source in CODE:
        for node in source.tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(source.name)
    assert not _found([f"{name}: {', '.join(found)}" for name, found in homes.items() if len(found) > 1])


def test_every_ignored_type_error_says_why() -> None:
    """`# type: ignore[code]  # reason`."""
    ignore = re.compile(r"#\s*type:\s*ignore(?!\[[\w, -]+\]\s*#\s*\S)")
    faults = [
        f"{s.name}:{number} {line.strip()}"
        for s in EVERYTHING
        if s.name != "tests/house/test_source.py"
        for number, line in enumerate(s.text.splitlines(), 1)
        if ignore.search(line)
    ]
    assert not _found(faults)


def _len_body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return the lines of a function without its docstring and its decorators."""
    start = function.lineno
    if ast.get_docstring(function) is not None:
        start += (function.body[0].end_lineno or 0) - function.body[0].lineno + 1
    return (function.end_lineno or function.lineno) - start + 1


def _is_command(source: Source) -> bool:
    return source.name.startswith("cluster/commands/") or any(name.startswith("typer") for name, _ in source.imports())
