"""From a cache of calls as users give it to what its step is told: its place, and the name of a function."""

import os
from collections.abc import Callable, Iterator
from hashlib import blake2b
from types import CodeType, FunctionType
from typing import Any

from sage.flow.call_cache import CallCache
from sage.flow.check_numbers import counts, texts
from sage.flow.given import refuse
from sage.flow.where import refusal

_PLAIN = (type(None), bool, int, float, complex, str, bytes)


def kept_by(cache: CallCache | str | os.PathLike[str] | None) -> CallCache | None:
    """Return what `cache=` says, with a path that means the same everywhere; raises FlowInvalid."""
    if cache is None:
        return None
    given = cache if isinstance(cache, CallCache) else CallCache(cache)
    folder: object = given.folder
    folder = os.fspath(folder) if isinstance(folder, os.PathLike) else folder
    if not isinstance(folder, str) or not folder or "://" in folder:
        raise refusal(f"{folder!r:.80} is no folder of a machine", "Name one.", param="cache")
    refuse((*texts("", name=given.name or None), *counts(max_bytes=given.max_bytes)))
    return CallCache(os.path.abspath(folder), given.max_bytes, given.name)


def named_for(cache: CallCache | None, fn: Callable[..., Any]) -> CallCache | None:
    """Return `cache` with a name for `fn`; raises FlowInvalid where its code alone does not say what it does."""
    if cache is None or cache.name:
        return cache
    if not isinstance(fn, FunctionType):
        raise _unnamed(fn, f"it is a {type(fn).__name__}")
    held = [cell.cell_contents for cell in fn.__closure__ or ()]
    held += [*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()]
    digest = blake2b(digest_size=16)
    for part in (*_parts_of_code(fn.__code__), *(_part_of_value(fn, value) for value in held)):
        digest.update(len(part).to_bytes(8, "little") + part)
    return CallCache(cache.folder, cache.max_bytes, f"{fn.__qualname__}:{digest.hexdigest()}")


def _part_of_value(fn: Callable[..., Any], value: object) -> bytes:
    if isinstance(value, _PLAIN):
        return repr((type(value).__name__, value)).encode()
    raise _unnamed(fn, f"it holds a {type(value).__name__}")


def _parts_of_code(code: CodeType) -> Iterator[bytes]:
    yield code.co_code
    yield code.co_exceptiontable  # what stands in a `try` is told by nothing else
    yield repr((code.co_names, code.co_varnames, code.co_argcount, code.co_kwonlyargcount, code.co_flags)).encode()
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _parts_of_code(const)
        else:
            yield repr(_sorted(const)).encode()


def _sorted(const: object) -> object:
    """Return a constant so that its repr is the same in every process."""
    return sorted(map(repr, const)) if isinstance(const, frozenset) else const


def _unnamed(fn: object, why: str) -> Exception:
    what = f"what {fn!r:.80} does is not known by its code alone: {why}"
    return refusal(what, 'Name it: cache=sage.CallCache("DIR", name="fetch-v1").', param="cache")
