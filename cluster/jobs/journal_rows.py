"""Jobs as rows of a journal's file, each with a checksum. Opens no file."""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from cluster.jobs.journal import JobRecord

SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, ended_number INTEGER, name TEXT NOT NULL, code BLOB NOT NULL,
    status TEXT NOT NULL, placement TEXT NOT NULL, num_restarts INTEGER NOT NULL, num_restarts_left INTEGER NOT NULL,
    created_unix_s REAL NOT NULL, ended_unix_s REAL, error TEXT NOT NULL, num_dead_letters INTEGER NOT NULL,
    about BLOB NOT NULL, metrics TEXT NOT NULL, crc INTEGER NOT NULL
) STRICT;
CREATE INDEX jobs_by_end ON jobs (ended_number);
CREATE TABLE totals (
    num_changes INTEGER NOT NULL, num_jobs INTEGER NOT NULL, next_epoch INTEGER NOT NULL,
    num_forgotten INTEGER NOT NULL, num_dead_letters_forgotten INTEGER NOT NULL, crc INTEGER NOT NULL
) STRICT;
"""

_FIELDS = JobRecord.__struct_fields__
_JSON_FIELDS = ("placement", "error", "metrics")
COLUMNS = ("number", "ended_number", *_FIELDS, "crc")
"""Of a row, in the order in which `record_of` wants them."""

KEEP = f"""
INSERT INTO jobs ({", ".join(COLUMNS)}) VALUES ({", ".join(f":{name}" for name in COLUMNS)})
ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in COLUMNS)}
"""  # noqa: S608 - the names are those of our own struct


class JournalTotals(msgspec.Struct, frozen=True, array_like=True):
    """What is true of all rows together."""

    num_changes: int = 0
    num_jobs: int = 0
    next_epoch: int = 0
    num_forgotten: int = 0
    num_dead_letters_forgotten: int = 0

    def crc(self, sum_of_crcs: int | None) -> int:
        """Return the checksum, which covers every row: one that is older than the others is sound by itself.

        `sum_of_crcs` None: as it was before version 3.
        """
        rest = () if sum_of_crcs is None else (sum_of_crcs,)
        return _crc((*msgspec.structs.astuple(self), *rest))


def totals_of(row: Sequence[Any], sum_of_crcs: int | None) -> JournalTotals:
    """Return what stands in a row of totals; raises ValueError where it is not what was written."""
    *values, crc = row
    totals = msgspec.convert(values, JournalTotals)
    if crc != totals.crc(sum_of_crcs):
        raise ValueError("its jobs and its totals are not of one time")
    return totals


def row_of(record: JobRecord, number: int, ended_number: int | None) -> dict[str, object]:
    values: dict[str, object] = {name: getattr(record, name) for name in _FIELDS}
    values |= {name: msgspec.json.encode(values[name]).decode() for name in _JSON_FIELDS}
    values["status"] = record.status.value
    crc = _crc((number, ended_number, _stored(values)))
    return {**values, "number": number, "ended_number": ended_number, "crc": crc}


def record_of(row: Sequence[Any]) -> JobRecord:
    """Return the job in a row; raises ValueError where it is not what was written."""
    number, ended_number, *values, crc = row
    fields = _stored(dict(zip(_FIELDS, values, strict=True)))
    if crc != _crc((number, ended_number, fields)):
        raise ValueError(f"job {fields['id']} is not what was written")
    return msgspec.convert(fields, JobRecord)


def _stored(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields of a row as they stand there, what is JSON read: the checksum is of these, so that it holds
    whatever fields later versions give to what the JSON is of."""
    return {**fields, **{name: msgspec.json.decode(str(fields[name])) for name in _JSON_FIELDS}}


def _crc(value: object) -> int:
    return zlib.crc32(msgspec.msgpack.encode(value))
