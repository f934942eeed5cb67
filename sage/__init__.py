"""SAGE: streams of records through operators and models, on one machine or many."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sage.base import errors as errors
    from sage.base.devices import Device as Device
    from sage.base.devices import devices as devices
    from sage.base.errors import SageError as SageError
    from sage.flow.broadcast import BroadcastStream as BroadcastStream
    from sage.flow.broadcast_process import BroadcastContext as BroadcastContext
    from sage.flow.broadcast_process import BroadcastProcess as BroadcastProcess
    from sage.flow.broadcast_process import BroadcastState as BroadcastState
    from sage.flow.call_cache import CallCache as CallCache
    from sage.flow.checkpoint import Checkpoint as Checkpoint
    from sage.flow.connect import connect as connect
    from sage.flow.connectors.http_source import HttpRequest as HttpRequest
    from sage.flow.flow import Flow as Flow
    from sage.flow.index import Index as Index
    from sage.flow.index import Passage as Passage
    from sage.flow.keyed import KeyedStream as KeyedStream
    from sage.flow.process import CoProcess as CoProcess
    from sage.flow.process import KeyedProcess as KeyedProcess
    from sage.flow.process import ListState as ListState
    from sage.flow.process import MapState as MapState
    from sage.flow.process import ProcessContext as ProcessContext
    from sage.flow.process import ReducingState as ReducingState
    from sage.flow.process import ValueState as ValueState
    from sage.flow.runner import Cluster as Cluster
    from sage.flow.runner import Job as Job
    from sage.flow.runner import JobResult as JobResult
    from sage.flow.stream import Stream as Stream
    from sage.flow.windowed import WindowedStream as WindowedStream
    from sage.flow.windows import CountWindow as CountWindow
    from sage.flow.windows import Session as Session
    from sage.flow.windows import Sliding as Sliding
    from sage.flow.windows import Tumbling as Tumbling
    from sage.flow.windows import WindowResult as WindowResult

_HOMES = {
    "Flow": "sage.flow.flow",
    "Stream": "sage.flow.stream",
    "KeyedStream": "sage.flow.keyed",
    "WindowedStream": "sage.flow.windowed",
    "Tumbling": "sage.flow.windows",
    "Sliding": "sage.flow.windows",
    "Session": "sage.flow.windows",
    "CountWindow": "sage.flow.windows",
    "WindowResult": "sage.flow.windows",
    "KeyedProcess": "sage.flow.process",
    "CoProcess": "sage.flow.process",
    "ProcessContext": "sage.flow.process",
    "BroadcastProcess": "sage.flow.broadcast_process",
    "BroadcastContext": "sage.flow.broadcast_process",
    "BroadcastState": "sage.flow.broadcast_process",
    "BroadcastStream": "sage.flow.broadcast",
    "ValueState": "sage.flow.process",
    "ListState": "sage.flow.process",
    "MapState": "sage.flow.process",
    "ReducingState": "sage.flow.process",
    "CallCache": "sage.flow.call_cache",
    "Checkpoint": "sage.flow.checkpoint",
    "HttpRequest": "sage.flow.connectors.http_source",
    "Index": "sage.flow.index",
    "Passage": "sage.flow.index",
    "connect": "sage.flow.connect",
    "Cluster": "sage.flow.runner",
    "Job": "sage.flow.runner",
    "JobResult": "sage.flow.runner",
    "Device": "sage.base.devices",
    "devices": "sage.base.devices",
    "SageError": "sage.base.errors",
    "errors": "sage.base",
}

__all__ = list(_HOMES)


if not TYPE_CHECKING:  # to a type checker a module with __getattr__ has every name, misspelt ones too

    def __getattr__(name: str) -> object:
        """Bring a public name on its first use, so that `import sage` and `sage --help` cost next to nothing."""
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module 'sage' has no attribute {name!r}")
        value: object = import_module(f"{home}.{name}") if name == "errors" else getattr(import_module(home), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
