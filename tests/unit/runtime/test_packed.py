"""Records within messages of control: they come out as they went in, in pieces that fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.packed import MAX_RECORD_BYTES, PIECE_BYTES, join_pieces, pack_records, unpack_records
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


@given(st.lists(st.lists(st.integers() | st.text(), min_size=1), min_size=1, max_size=9))
def test_pieces_that_were_joined_bring_the_records_of_all_in_order(parts: list[list[object]]) -> None:
    joined = join_pieces([piece for part in parts for piece in pack_records(part, TYPES, where="step x")])
    assert list(unpack_records(joined.packed, TYPES)) == [record for part in parts for record in part]
    assert joined.num_records == sum(map(len, parts))


def test_joined_pieces_within_joined_pieces_are_refused() -> None:
    [piece] = pack_records([1], TYPES, where="step x")
    twice = join_pieces([piece, piece])
    with pytest.raises(InternalError, match="no packed records"):
        unpack_records(join_pieces([twice, piece]).packed, TYPES)


@given(st.binary(max_size=200))
def test_bytes_that_are_no_records_are_refused_in_one_way(data: bytes) -> None:
    with pytest.raises(InternalError, match="no packed records"):
        unpack_records(data, TYPES)
