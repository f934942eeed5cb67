"""A flow's file and the files of its project that it imports: found without running them, and hashed.

The project is the folder of the file, or that of the outermost package it lies in. Only what `import` names in the
source is seen: not data files, nor what is imported by a computed name.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from sysconfig import get_paths

from sage.base.errors import FlowInvalid
from sage.base.packages import PACKAGES

MAX_FILES = 2000


@dataclass(frozen=True)
class Project:
    """`root` comes first on sys.path; `files`: the flow's own first, then the imported ones in order of their paths."""

    root: Path
    files: tuple[Path, ...]

    @property
    def file(self) -> Path:
        return self.files[0]

    @property
    def module(self) -> str | None:
        """The dotted name by which the flow's file must be imported, None where it lies in no package."""
        name = _dotted(self.root, self.file)
        return name if "." in name or self.file.name == "__init__.py" else None

    def imported(self) -> tuple[str, ...]:
        """Return the dotted names of the imported files."""
        return tuple(_dotted(self.root, file) for file in self.files[1:])

    @cached_property
    def sha256(self) -> str:
        """The hash of every file and of its place within the project, wherever that lies."""
        whole = hashlib.sha256()
        for file in self.files:
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            whole.update(f"{file.relative_to(self.root).as_posix()}\0{content}\n".encode())
        return whole.hexdigest()


def project_of(file: Path) -> Project:
    """Return the project of a flow's file; raises FlowInvalid where that is no Python or it brings too much."""
    file = file.resolve()
    root = file.parent
    while (root / "__init__.py").is_file() and root != root.parent:
        root = root.parent
    found: dict[Path, None] = {file: None}
    waiting = [file, *_packages_of(root, file)]
    while waiting:
        each = waiting.pop()
        found[each] = None
        if len(found) > MAX_FILES:
            raise FlowInvalid(f"{file} imports more than {MAX_FILES} files of {root}", "Install them as a package.")
        waiting.extend(other for other in _imported_files(root, each, file) if other not in found)
    return Project(root, (file, *sorted(set(found) - {file})))


def installed_places() -> frozenset[Path]:
    """Return the folders in which packages are installed for this Python."""
    return frozenset(Path(place).resolve() for name, place in get_paths().items() if name in ("purelib", "platlib"))


def runs_as_script_only(file: Path) -> list[range]:
    """Return the lines of `file` that run only where it is started: below `if __name__ == "__main__"`."""
    tree = _parsed(file, file)
    guards = [node for node in tree.body if isinstance(node, ast.If) and _is_guard(node.test)]
    return [range(node.body[0].lineno, (node.body[-1].end_lineno or node.lineno) + 1) for node in guards]


def _is_guard(test: ast.expr) -> bool:
    return any(isinstance(node, ast.Name) and node.id == "__name__" for node in ast.walk(test))


def _imported_files(root: Path, file: Path, flow_file: Path) -> Iterator[Path]:
    """Yield the project's files that `file` may import; where packages are installed, each is a project of its own."""
    is_shared = root in installed_places()
    own = _dotted(root, flow_file).split(".")[0]
    for name in _imported_names(root, file, flow_file):
        if name.split(".")[0] not in PACKAGES and (not is_shared or name.split(".")[0] == own):
            yield from _files_of(root, name)


def _imported_names(root: Path, file: Path, flow_file: Path) -> Iterator[str]:
    """Yield every dotted name that `file` may import; some are no modules."""
    for node in ast.walk(_parsed(file, flow_file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(filter(None, (_package_above(root, file, node.level), node.module)))
            yield from (f"{start}.{alias.name}".strip(".") for alias in node.names)


def _package_above(root: Path, file: Path, level: int) -> str:
    """Return the package that `level` dots mean in `file`; "" for none: an absolute import."""
    if level == 0:
        return ""
    folder = file.parent
    for _ in range(level - 1):
        folder = folder.parent
    return ".".join(folder.relative_to(root).parts) if folder.is_relative_to(root) else ""


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """Yield the files that importing `name` runs: of each package on the way, and its own."""
    place = root
    for part in name.split("."):
        place = place / part
        for candidate in (place / "__init__.py", place.with_name(f"{place.name}.py")):
            if candidate.is_file() and candidate.resolve().is_relative_to(root):
                yield candidate.resolve()
                break


def _packages_of(root: Path, file: Path) -> Iterator[Path]:
    for folder in file.parents:
        if folder == root:
            return
        yield folder / "__init__.py"


def _parsed(file: Path, flow_file: Path) -> ast.Module:
    try:
        return ast.parse(file.read_bytes())
    except OSError as error:
        raise FlowInvalid(f"{file} cannot be read: {error.strerror}", "Give a Python file.") from error
    except (SyntaxError, ValueError) as error:
        if file != flow_file:
            return ast.Module([], [])  # it may never be imported
        raise FlowInvalid(f"{file} is no Python: {error}", "Mend it; `python FILE` shows the same.") from error


def _dotted(root: Path, file: Path) -> str:
    parts = file.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
