"""Records within messages of control: they come out as they went in, in pieces that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.packed import MAX_RECORD_BYTES, PIECE_BYTES, pack_records, unpack_records
from cluster.runtime.record_types import RecordTypes
from sage.base.errors import InternalError, RecordUnsendable

TYPES = RecordTypes()


def test_much_travels_in_pieces_and_comes_out_in_order() -> None:
    records = [("word" * 100, number, {"n": None}) for number in range(3_000)]
    pieces = list(pack_records(records, TYPES, where="step x"))
    assert len(pieces) > 1
    assert max(len(piece.packed) for piece in pieces) <= PIECE_BYTES
    assert [record for piece in pieces for record in unpack_records(piece.packed, TYPES)] == records
    assert sum(piece.num_records for piece in pieces) == len(records)


def test_a_record_that_fits_in_no_message_is_refused_with_its_step() -> None:
    with pytest.raises(RecordUnsendable, match="step x brings a record of"):
        list(pack_records(["x" * (MAX_RECORD_BYTES + 1)], TYPES, where="step x"))


@given(st.binary(max_size=200))
def test_bytes_that_are_no_records_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(InternalError, match="no packed records"):
        unpack_records(data, TYPES)
