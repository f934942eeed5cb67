"""How a flow's code travels: by the name of a file that every node has, with its hash; else signed, in an envelope.

Knows neither nodes nor connections. Of shipped code nothing is loaded before its verifier has opened it.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module, invalidate_caches
from importlib.machinery import PathFinder
from pathlib import Path
from types import ModuleType

from cluster.jobs.envelope import LEN_NONCE_BYTES, LIFETIME_S, CodeVerifier, seal, shipping_is_off
from cluster.jobs.flow_file import flows_of, import_file, pick, plain_name, users_frames
from cluster.jobs.graph_digest import graph_sha256
from cluster.jobs.pickled_graph import graph_from_pickle, pickled_graph
from cluster.jobs.project import Project, installed_places, project_of, runs_as_script_only
from cluster.runtime.signing import SigningKey
from cluster.runtime.travelling_code import Code, FileCode, ShippedCode
from sage.base.clock import Clock
from sage.base.errors import CodeMismatch, CodeRefused, FlowInvalid
from sage.base.ids import JobId
from sage.base.packages import PACKAGES
from sage.flow.flow import Flow
from sage.flow.graph import Graph

PREFIX = "sage_flow_"

Ship = Callable[[Graph, JobId], ShippedCode]
"""Puts a graph into an envelope for one job."""


@dataclass(frozen=True, slots=True)
class Shipper:
    """Ships code as one submitter; a Ship."""

    key: SigningKey
    clock: Clock
    lifetime_s: float = LIFETIME_S

    def __call__(self, graph: Graph, job_id: JobId) -> ShippedCode:
        """Raises FlowInvalid where something in `graph` cannot travel, CodeRefused where it is too long."""
        expires_unix_s = self.clock.unix_s() + self.lifetime_s
        nonce = os.urandom(LEN_NONCE_BYTES)
        return ShippedCode(seal(pickled_graph(graph), self.key, job_id, nonce=nonce, expires_unix_s=expires_unix_s))


def code_of(graph: Graph, job_id: JobId, ship: Ship | None) -> Code:
    """Return how `graph`, built in this process, travels: by its file where importing that builds it, else shipped.

    It is found by its file where it is that of a flow at the top level of a module, and no step was written below
    `if __name__ == "__main__"`. `ship` is None where code shipping is off: CodeRefused is raised where it is needed.
    """
    home = next(_homes(graph), None)
    if home is not None:
        return home
    if ship is None:
        raise shipping_is_off(f'the flow "{graph.name}" is in no file that could be imported')
    return ship(graph, job_id)


def graph_from_code(
    code: Code,
    verifier: CodeVerifier,
    *,
    job_id: JobId,
    node: str,
    at_unix_s: float,
    offered: Sequence[Path] | None = None,
) -> Graph:
    """Load the flow and return its graph. Changes sys.path and sys.modules: one at a time in a process.

    `node` names this process in errors; `at_unix_s`: when the job was submitted. `offered`: the folders below which
    files may be named, besides where packages are installed; None: all.

    Raises: CodeMismatch where this node has no such file, another content of it, or it builds another graph here;
    CodeRefused by `verifier`, and for a file in no folder that is offered; FlowInvalid, with the user's frames, where
    the code cannot be loaded.
    """
    match code:
        case FileCode():
            return _graph_from_file(code, node, offered)
        case ShippedCode(envelope):
            return graph_from_pickle(verifier.opened(envelope, job_id, at_unix_s), node)


def _homes(graph: Graph) -> Iterator[FileCode]:
    """Yield the code of every loaded module that has this graph's flow at its top level."""
    loaded: list[object] = list(sys.modules.values())  # what stands there need not be a module
    for module in loaded:
        file = getattr(module, "__file__", None)
        if not isinstance(module, ModuleType) or not isinstance(file, str) or not _may_hold(module, file, graph):
            continue
        for variable, flow in flows_of(module).items():
            if _is_flow_of(flow, graph) and _is_importable(graph, Path(file), variable):
                yield _file_code(graph, module, Path(file), variable)


def _may_hold(module: ModuleType, file: str, graph: Graph) -> bool:
    """Say whether the flow may be in `module`: it is the script, or a step was written in its file."""
    name = os.path.basename(file)
    wheres = [step.where.file for step in graph.steps if os.path.basename(step.where.file) == name]
    return module.__name__ == "__main__" or os.path.realpath(file) in map(os.path.realpath, wheres)


def _is_flow_of(flow: Flow, graph: Graph) -> bool:
    try:
        return flow.name == graph.name and flow.graph() == graph
    except FlowInvalid:  # another one of this name, which is not finished
        return False


def _is_importable(graph: Graph, file: Path, variable: str) -> bool:
    """Say whether importing `file`, instead of starting it, writes down all of the flow as well."""
    if file.suffix != ".py" or not variable.isidentifier():
        return False
    script_lines = runs_as_script_only(file)
    own = [step.where.line for step in graph.steps if os.path.realpath(step.where.file) == os.path.realpath(file)]
    return not any(line in lines for line in own for lines in script_lines)


def _file_code(graph: Graph, module: ModuleType, file: Path, variable: str) -> FileCode:
    project = project_of(file)
    spec = module.__spec__
    where = spec.name if project.root in installed_places() and spec is not None else str(project.file)
    return FileCode(f"{where}:{variable}", project.sha256, graph_sha256(graph))


def _graph_from_file(code: FileCode, node: str, offered: Sequence[Path] | None) -> Graph:
    where, _, variable = code.target.rpartition(":")
    file = _file_of(where, code, node)
    if offered is not None:
        _check_offered(file, offered, node)
    project = project_of(file)
    if project.sha256 != code.sha256:
        raise CodeMismatch(
            f"node {node} has {project.file} with hash {project.sha256[:16]}, and {code.sha256[:16]} was submitted",
            f"Bring the same files there: {_names_of(project)}.",
        )
    flow = pick(flows_of(_loaded(project)), variable)
    if flow is None:
        raise FlowInvalid(f"{project.file} has no flow {variable!r} on node {node}", "Put it at the file's top level.")
    graph = flow.graph()
    if code.graph_sha256 and graph_sha256(graph) != code.graph_sha256:
        raise CodeMismatch(
            f'the flow "{graph.name}" is another on node {node} (hash {graph_sha256(graph)[:16]}) than where it was '
            f"submitted ({code.graph_sha256[:16]}), though its files are the same",
            "Build it from what its files say alone, not from arguments, the time or chance; or read that in a source.",
        )
    return graph


def _file_of(where: str, code: FileCode, node: str) -> Path:
    """Return the file that `where`, a path or the dotted name of a module, means on this node."""
    file = Path(where) if os.path.isabs(where) else _file_of_module(where)
    if file is None or not file.is_file():
        what = f"node {node} has no {where}, and {code.sha256[:16]} is the hash of what was submitted"
        raise CodeMismatch(what, "Bring it there, under the same path, or install it as a package.")
    return file


def _check_offered(file: Path, offered: Sequence[Path], node: str) -> None:
    """Refuse a file that happens to lie on the node, before it is read: loading it would run it."""
    folders = [*map(Path.resolve, offered), *installed_places()]
    if not any(file.resolve().is_relative_to(folder) for folder in folders):
        raise CodeRefused(
            f"node {node} loads no flow from {file.parent}: it offers {', '.join(map(str, offered)) or 'no folder'}",
            "Put the file there, install it as a package, or offer its folder on the node: node.code_dirs.",
        )


def _file_of_module(name: str) -> Path | None:
    """Return where a module is, without running the packages above it."""
    found, places = None, None
    for number in range(1, name.count(".") + 2):
        found = PathFinder.find_spec(".".join(name.split(".")[:number]), places)
        if found is None:
            return None
        places = found.submodule_search_locations or []
    return Path(found.origin) if found is not None and found.origin is not None else None


def _loaded(project: Project) -> ModuleType:
    """Import the flow's file anew, and with it what it imports of its project: another job may have an older state."""
    for name in (*project.imported(), *filter(None, [project.module])):
        if name.split(".")[0] not in (*PACKAGES, *sys.stdlib_module_names):
            sys.modules.pop(name, None)
    root = str(project.root)
    sys.path[:] = [root, *(place for place in sys.path if place != root)]
    invalidate_caches()  # files may have come since the folder was last looked at
    if project.module is None:
        return import_file(project.file, f"{PREFIX}{plain_name(project.file)}_{project.sha256[:12]}")
    with users_frames(project.file):
        return import_module(project.module)


def _names_of(project: Project) -> str:
    names = [file.relative_to(project.root).as_posix() for file in project.files]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
