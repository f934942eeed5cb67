"""What a cache knows of the calls of one task: of its coroutine function, and of models. Knows no file."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import msgspec

from cluster.runtime.call_book import CallBook, CallJournal
from cluster.runtime.packed import pack_whole, unpack_records
from cluster.runtime.record_types import RecordTypes
from operators.machine import Call, CallResult, Counts
from sage.base.errors import InternalError, RecordUnsendable
from sage.flow.graph import Step


class CachedCalls:
    """Stands between a task and whoever answers its calls. `models`: a book of requests to models."""

    def __init__(self, step: Step, name: str, store: CallJournal, types: RecordTypes) -> None:
        """`name`: of the function that the step calls."""
        self.models = CallBook(store, is_cache=True)
        self._where = f"a result of step {step.name!r}, which cache= is to keep,"
        self._store = store
        self._name = name
        self._types = types
        self._keys: dict[int, bytes] = {}

    def call(self, calls: Sequence[Call], counts: Counts) -> tuple[list[Call], list[CallResult]]:
        """Return the calls that are to be made, and the results of all others. Raises RecordUnsendable."""
        left: list[Call] = []
        known: list[CallResult] = []
        for call in calls:
            key = blake2b(_content(self._name, call.value), digest_size=16).digest()
            result = self._kept(call.call_id, key, counts)
            if result is None:
                self._keys[call.call_id] = key
                left.append(call)
            else:
                known.append(result)
        counts.num_cached += len(known)
        return left, known

    def returned(self, results: Sequence[CallResult]) -> None:
        """Keep what calls returned; those that failed are not kept. Raises RecordUnsendable."""
        ended: list[tuple[bytes, bytes | None]] = []
        for result in results:
            key = self._keys.pop(result.call_id, None)
            if key is not None and result.error is None:
                ended.append((key, pack_whole([result.value], self._types, where=self._where)))
        self._store.ended(ended)

    def close(self) -> None:
        self._store.close()

    def _kept(self, call_id: int, key: bytes, counts: Counts) -> CallResult | None:
        """Return the result that is kept; one that cannot be read is dropped, so that the next has room."""
        answer = self._store.take(key)
        if answer is None:
            return None
        value = self._read(answer)
        if len(value) == 1:
            return CallResult(call_id, value[0], None)
        self._store.drop(key, answer)
        counts.num_unreadable += 1
        return None

    def _read(self, answer: bytes) -> Sequence[Any]:
        """Return the one value of an answer; none of what another flow kept, whose classes were others."""
        try:
            return unpack_records(answer, self._types)
        except InternalError:
            return ()


def _content(name: str, value: Any) -> bytes:
    """Return bytes that are the same for the same function and record, in every process."""
    try:
        return _ENCODER.encode((name, type(value).__qualname__, value))
    except (TypeError, ValueError, RecursionError) as error:
        what = f"a {type(value).__name__} cannot be told from others by its content: {error}"
        raise RecordUnsendable(what, "Give the step with cache= plain records, or leave cache away.") from error


def _plain(value: Any) -> Any:
    """Return arrays as what they hold."""
    if hasattr(value, "tobytes") and hasattr(value, "dtype"):
        return (str(value.dtype), value.shape, value.tobytes())
    raise TypeError(f"{type(value).__name__} has no content that is known")


_ENCODER = msgspec.msgpack.Encoder(enc_hook=_plain, order="deterministic")
