"""The Python files of this tree, parsed. Knows no rule."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("sage", "operators", "cluster", "gateway", "benchmarks")


@dataclass(frozen=True, slots=True)
class Source:
    """One file; `name` is its path within the tree."""

    name: str
    text: str
    tree: ast.Module

    def calls(self) -> Iterator[tuple[str, str, int]]:
        """Yield the dotted name, the arguments and the line of every call: `time.sleep`, `0.1`, 7."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                yield ast.unparse(node.func), ", ".join(map(ast.unparse, node.args)), node.lineno

    def imports(self) -> Iterator[tuple[str, int]]:
        """Yield the dotted name and the line of everything imported: `unittest.mock`, `time.sleep`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from ((alias.name, node.lineno) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)

    def functions(self) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))

    def classes(self) -> Iterator[ast.ClassDef]:
        yield from (node for node in ast.walk(self.tree) if isinstance(node, ast.ClassDef))


@cache
def sources(*folders: str) -> tuple[Source, ...]:
    """Return every Python file below `folders` of the tree, in order of path."""
    paths = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return tuple(_parsed(path) for path in paths)


def _parsed(path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    return Source(str(path.relative_to(ROOT)), text, ast.parse(text))
