"""Which classes of a flow's own may travel in its records: those that its code names or holds. Loads nothing.

Every process that has the flow makes the same table: a class of a value that the flow holds is known by its own name,
another by the name under which the code of a step has it, whatever its module is called there.
"""

import dataclasses
import sys
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec

from cluster.jobs.held_types import types_held, types_of_fields
from cluster.runtime.record_types import RecordTypes
from sage.base.dues import DueRecord
from sage.base.inference import ServiceClass
from sage.base.turns import Place, Turn, TurnRecord
from sage.flow.connectors.http_source import HttpRequest, posted_to
from sage.flow.dues import has_dues
from sage.flow.graph import Graph
from sage.flow.turns import chats_of
from sage.flow.windows import WindowResult

_NOT_USERS = ("sage", "operators", "cluster", "gateway", "benchmarks")


def flow_types(graph: Graph) -> RecordTypes:
    """Return the Structs, dataclasses and Enums that functions, sources and sinks have, those of the items of
    collections and of the fields of them all, and what every flow has.

    Where two steps have different classes of one name, that of the first step travels.
    """
    table: dict[str, type] = {"sage.WindowResult": WindowResult}
    seen: set[type] = set(table.values())
    for name, value in _names(graph):
        if name not in table and value not in seen:
            table[name] = value
            seen.add(value)
    if chats_of(graph):
        table.update({f"sage:{cls.__name__}": cls for cls in (TurnRecord, Turn, Place, ServiceClass)})
    if any(posted_to(step.spec) for step in graph.steps):
        table["sage.HttpRequest"] = HttpRequest
    if has_dues(graph):
        table["sage:DueRecord"] = DueRecord
    return RecordTypes(table)


def _names(graph: Graph) -> Iterator[tuple[str, type]]:
    """Yield first what is the same wherever the code came to: functions that travelled have fewer names at hand."""
    yield from ((cls.__name__, cls) for cls in types_held(_values(graph), _may_travel))
    named = list(_named_by_code(graph))
    yield from named
    yield from ((cls.__name__, cls) for cls in types_of_fields([cls for _, cls in named], _may_travel))


def _values(graph: Graph) -> Iterator[Any]:
    """Yield what the steps are given: the items of collections, the first values of folds, functions too."""
    for step in graph.steps:
        for field in dataclasses.fields(step.spec):
            value = getattr(step.spec, field.name)
            yield value
            if dataclasses.is_dataclass(value) and not isinstance(value, type):
                yield from (getattr(value, option.name) for option in dataclasses.fields(value))


def _named_by_code(graph: Graph) -> Iterator[tuple[str, type]]:
    for step in graph.steps:
        folder = str(Path(step.where.file).parent)
        for field in dataclasses.fields(step.spec):
            value = getattr(step.spec, field.name)
            for each in value if isinstance(value, tuple) else (value,):
                yield from _named_by(each, folder)
            if dataclasses.is_dataclass(value) and not isinstance(value, type):  # a source or a sink with its options
                for option in dataclasses.fields(value):
                    yield from _named_by(getattr(value, option.name), folder)


def _named_by(value: Any, folder: str) -> Iterator[tuple[str, type]]:
    if _may_travel(value):
        yield value.__name__, value
    for names in _globals_of(value):
        for name, found in list(names.items()):
            if _may_travel(found):
                yield name, found
            elif isinstance(found, ModuleType) and _is_beside(found, folder):
                for inner, cls in list(vars(found).items()):
                    if _may_travel(cls):
                        yield f"{name}.{inner}", cls


def _globals_of(value: Any) -> Iterator[dict[str, Any]]:
    """Yield the names that a function, a partial or a bound method has at hand."""
    inner = getattr(value, "func", None) or getattr(value, "__func__", None) or value
    names = getattr(inner, "__globals__", None)
    if isinstance(names, dict) and str(names.get("__name__", "")).partition(".")[0] not in _NOT_USERS:
        yield names
        for cell in getattr(inner, "__closure__", None) or ():
            try:
                captured = cell.cell_contents
            except ValueError:  # not yet assigned
                continue
            yield {getattr(captured, "__name__", ""): captured} if isinstance(captured, type) else {}
    module = sys.modules.get(type(value).__module__)
    if module is not None and type(value).__module__.partition(".")[0] not in (*_NOT_USERS, "builtins", "functools"):
        yield vars(module)


def _may_travel(value: object) -> bool:
    if not isinstance(value, type) or value.__module__.partition(".")[0] in _NOT_USERS:
        return False
    return issubclass(value, Enum | msgspec.Struct) or dataclasses.is_dataclass(value)


def _is_beside(module: ModuleType, folder: str) -> bool:
    """Say whether a module lies with the flow: its classes are the flow's own."""
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and file.startswith(folder) and "site-packages" not in file
