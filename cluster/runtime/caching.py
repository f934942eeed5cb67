"""The cache of a task's calls, where its step was told to keep one. Decides nothing."""

import os

from cluster.runtime.call_cache import CachedCalls
from cluster.runtime.call_store import CallStore
from cluster.runtime.messages import TaskSpec
from cluster.runtime.record_types import RecordTypes
from sage.flow.spec import Waiting


def cache_of(spec: TaskSpec, types: RecordTypes) -> CachedCalls | None:
    """Return it, not opened yet; steps that wait stand alone in their chain."""
    step = spec.chain.steps[0]
    cache = step.spec.cache if isinstance(step.spec, Waiting) else None
    if cache is None:
        return None
    return CachedCalls(step, cache.name, CallStore(os.fspath(cache.folder), cache.max_bytes), types)
