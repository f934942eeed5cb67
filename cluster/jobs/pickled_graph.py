"""Graphs to bytes and back by cloudpickle, code and all: the one place where bytes become code.

`graph_from_pickle` runs what is in the bytes. It is for `cluster.jobs.code` alone, once a verifier has opened them.
"""

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from sysconfig import get_paths
from types import ModuleType
from typing import Any

import cloudpickle
from msgspec import Struct

from cluster.jobs.flow_file import PREFIX
from cluster.jobs.pickled_structs import reduced_struct, travels_by_name
from sage.base.errors import CodeRefused, FlowInvalid, SageError
from sage.base.packages import PACKAGES
from sage.flow.graph import Graph

_ONE_AT_A_TIME = threading.Lock()  # what travels along is registered with cloudpickle, for all threads


def pickled_graph(graph: Graph) -> bytes:
    """Return `graph` with its functions; modules beside the user's script travel along, installed ones by name.

    Raises: FlowInvalid where something in it cannot travel.
    """
    try:
        with _ONE_AT_A_TIME, _travelling_along(_modules_beside_script()) as beside, BytesIO() as out:
            _GraphPickler(out, beside).dump(graph)
            return out.getvalue()
    except Exception as error:
        raise FlowInvalid(
            f'the flow "{graph.name}" cannot travel: {type(error).__name__}: {error}',
            "Open files, locks and iterators on the node (in a source, or at first use), not where the flow is built.",
        ) from error


def graph_from_pickle(data: bytes, node: str) -> Graph:
    """Run `data` and return the graph in it; raises FlowInvalid where that fails on this node, CodeRefused if none."""
    try:
        graph = cloudpickle.loads(data)
    except SageError:
        raise
    except Exception as error:
        what = f"node {node} cannot load the flow: {type(error).__name__}: {error}"
        raise FlowInvalid(what, "Install there what the flow imports.") from error
    if not isinstance(graph, Graph):
        raise CodeRefused(f"what was shipped is a {type(graph).__name__}, no graph")
    return graph


class _GraphPickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    """Does as cloudpickle, and knows Structs."""

    def __init__(self, out: BytesIO, beside: frozenset[str]) -> None:
        super().__init__(out)
        self._beside = beside

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type(Struct)) and (obj.__module__ in self._beside or not travels_by_name(obj)):
            return reduced_struct(obj)
        return super().reducer_override(obj)


def _modules_beside_script() -> Iterator[ModuleType]:
    """Yield the loaded modules of the user's own folders: no node can be expected to have them."""
    folders = _own_folders()
    real = cache(os.path.realpath)
    installed = [real(place) for place in get_paths().values()]
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name == "__main__" or not isinstance(file, str) or name.split(".")[0] in PACKAGES:
            continue
        place = _place_of(file, real)
        if any(_is_below(place, own) for own in folders) and not any(_is_below(place, other) for other in installed):
            yield module


def _own_folders() -> set[str]:
    """Return the folder of the script, and of each file that a command was given: there the script is ours."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    given = [module.__file__ for name, module in list(sys.modules.items()) if name.startswith(PREFIX)]
    folders = {os.path.dirname(os.path.realpath(file)) for file in (script, *given) if file}
    return folders if script else {*folders, os.path.realpath(os.getcwd())}


def _place_of(file: str, real: Callable[[str], str]) -> str:
    """Return where `file` really is. `real` is asked for its folder: hundreds of modules lie in few of them."""
    if os.path.islink(file):
        return os.path.realpath(file)
    return os.path.join(real(os.path.dirname(file)), os.path.basename(file))


def _is_below(place: str, folder: str) -> bool:
    return place.startswith(os.path.join(folder, ""))


@contextmanager
def _travelling_along(modules: Iterator[ModuleType]) -> Iterator[frozenset[str]]:
    """Let what these modules define be taken along whole; gives their names."""
    registered = [module for module in modules if module.__name__ in sys.modules]
    for module in registered:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield frozenset(module.__name__ for module in registered)
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)
