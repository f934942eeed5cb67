"""A record that is due at some time, on its way to a model: when, and which record of the source it came of.

Knows no flow and no clock. The epoch's time, and no monotonic one: a record goes from machine to machine.
"""

from typing import Any

import msgspec


class DueRecord(msgspec.Struct, frozen=True):
    """A record of a stream with `due_in_s`: `value` is what users see of it.

    `origin_id`: what all that came of one record of the source have in common.
    """

    value: Any
    origin_id: str
    due_unix_s: float

    def __repr__(self) -> str:
        return repr(self.value)


def value_of(record: Any) -> Any:
    """Return what users see of a record, which may be due or not."""
    return record.value if type(record) is DueRecord else record


def like(record: Any, value: Any) -> Any:
    """Return `value` as due as `record`, of which it was made."""
    return DueRecord(value, record.origin_id, record.due_unix_s) if type(record) is DueRecord else value
