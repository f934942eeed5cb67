"""Which instance of a step a key belongs to, and batches parted by it. Knows nothing of where instances run.

A key is of a key group, and neighbouring groups are of one instance: so with another number of instances most keys
stay in company, and what is saved of one number of instances can be dealt out to another.
"""

from collections.abc import Hashable
from itertools import filterfalse, islice
from typing import Any

from xxhash import xxh3_64_intdigest

from operators.failure import user_traceback
from operators.keycode import bytes_of_key, exact_bytes_of_key, no_key
from sage.base.batch import Batch
from sage.base.errors import InternalError, RecordFailed
from sage.flow.graph import Step

NUM_KEY_GROUPS = 128
"""How many groups there are, unless a step has more instances than that."""

_MAX_CACHED = 1 << 16


def instance_of(key: Hashable, num_instances: int) -> int:
    """Return which of `num_instances` has `key`, from 0: the same in every process; raises RecordFailed."""
    return instance_of_hash(xxh3_64_intdigest(bytes_of_key(key)), num_instances)


def instance_of_hash(key_hash: int, num_instances: int) -> int:
    """Return which instance has the keys of a hash."""
    num_groups = max(NUM_KEY_GROUPS, num_instances)
    return key_hash % num_groups * num_instances // num_groups


def place_of_key(key: Hashable) -> bytes:
    """Return bytes that differ for keys that differ, ordered by key group: keys of an instance are neighbours."""
    group = xxh3_64_intdigest(bytes_of_key(key)) % NUM_KEY_GROUPS
    return b"%c%b" % (group, exact_bytes_of_key(key))


class Partitioner:
    """Parts batches by key and remembers where the keys that it saw belong; used by one thread."""

    def __init__(self, keyed_by: Step | None = None) -> None:
        """`keyed_by`: the step that made the keys, where it is known; errors name it."""
        self._keyed_by = keyed_by
        self._instances: dict[int, _Instances] = {}

    def split(self, batch: Batch, num_partitions: int) -> list[tuple[int, Batch]]:
        """Return `(instance, its records)` for each instance that gets some; records keep their order.

        A watermark goes to every partition. Raises RecordFailed where a key cannot be encoded.
        """
        if batch.keys is None and len(batch):
            raise InternalError("a batch without keys came to a keyed channel")
        if num_partitions == 1:
            return [(0, batch)]
        values: list[list[Any]] = [[] for _ in range(num_partitions)]
        keys: list[list[Hashable]] = [[] for _ in range(num_partitions)]
        timestamps_s: list[list[float]] = [[] for _ in range(num_partitions)]
        numbers = self._numbers(batch, num_partitions)
        for partition, value, key in zip(numbers, batch.values, batch.keys or (), strict=True):
            values[partition].append(value)
            keys[partition].append(key)
        if batch.timestamps_s is not None:
            for partition, timestamp_s in zip(numbers, batch.timestamps_s, strict=True):
                timestamps_s[partition].append(timestamp_s)
        watermark_s = batch.watermark_s
        return [
            (at, Batch(values[at], keys[at], None if batch.timestamps_s is None else timestamps_s[at], watermark_s))
            for at in range(num_partitions)
            if values[at] or watermark_s is not None
        ]

    def _numbers(self, batch: Batch, num_partitions: int) -> list[int]:
        """Return the instance of each record."""
        keys = batch.keys or ()
        instances = self._instances.get(num_partitions)
        if instances is None:
            instances = self._instances[num_partitions] = _Instances(num_partitions)
        try:
            numbers = [instances[key] for key in keys]
        except TypeError as error:
            raise self._naming_the_step(no_key(next(filterfalse(_can_be_key, keys), None))) from error
        except RecordFailed as error:
            raise self._naming_the_step(error) from None
        instances.trim()
        return numbers

    def _naming_the_step(self, error: RecordFailed) -> RecordFailed:
        step = self._keyed_by
        if step is None:
            return error
        do = f'{error.do} Or set such records aside: on_error("dead_letter").'
        named = RecordFailed(f"step {step.name!r} ({step.where}): {error.what}", do)
        named.user_traceback = user_traceback(step, named)
        return named


def _can_be_key(key: object) -> bool:
    try:
        hash(key)
    except TypeError:
        return False
    return True


class _Instances(dict[Hashable, int]):
    """Remembers which instance has a key; `trim` forgets the older half of too many."""

    def __init__(self, num_instances: int) -> None:
        self._num_instances = num_instances

    def __missing__(self, key: Hashable) -> int:
        found = self[key] = instance_of(key, self._num_instances)
        return found

    def trim(self) -> None:
        if len(self) > _MAX_CACHED:
            for key in list(islice(self, len(self) // 2)):
                del self[key]
