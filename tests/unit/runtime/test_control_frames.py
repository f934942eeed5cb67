"""Frames of control: numbered, of one version, and nothing but what may be said."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.runtime.control import CONTROL_WIRE, Heartbeat, Leave, NodeToHead, RemoteFailure, RunLogged, RunTaskEnded
from cluster.runtime.control_frames import FrameReader, FrameWriter
from cluster.runtime.numbering import OutOfOrder
from sage.base.codec import Codec
from sage.base.errors import InternalError, RecordFailed, WireMismatch
from sage.base.ids import JobId, TaskId


@pytest.fixture
def writer() -> FrameWriter:
    return FrameWriter()


@pytest.fixture
def reader() -> FrameReader[NodeToHead]:
    return new_reader()


def new_reader() -> FrameReader[NodeToHead]:
    return FrameReader(Codec(NodeToHead))  # type: ignore[arg-type]  # a union is no class to mypy


def test_messages_come_as_they_were_sent_with_their_epoch(writer: FrameWriter, reader: FrameReader[NodeToHead]) -> None:
    error = RecordFailed("broken", "mend it")
    error.user_traceback = "File flow.py, line 3"
    error.add_note("and task x is stuck")
    ended = RunTaskEnded(JobId("job~2"), TaskId("job~2/map/0"), False, RemoteFailure.of(error))
    assert reader.read(writer.frames(ended, 7)) == (ended, 7)
    assert reader.read(writer.frames(Leave(), 8)) == (Leave(), 8)
    came = ended.error.error() if ended.error else None
    assert isinstance(came, RecordFailed)
    assert (came.what, came.user_traceback, came.__notes__) == ("broken", error.user_traceback, error.__notes__)


def test_what_is_no_character_travels_as_a_question_mark(writer: FrameWriter, reader: FrameReader[NodeToHead]) -> None:
    said = RunLogged(JobId("job"), TaskId("job/print/0"), "print", ("fine", "half a \ud83d character"))
    assert reader.read(writer.frames(said, 1)).message == RunLogged(
        said.run_id, said.task_id, "print", ("fine", "half a ? character")
    )


def test_a_message_that_comes_twice_or_is_missing_breaks_the_connection(writer: FrameWriter) -> None:
    first, second, third = (writer.frames(Heartbeat(number), 1) for number in range(3))
    twice, gap = new_reader(), new_reader()
    assert twice.read(first).message == gap.read(first).message == Heartbeat(0)
    with pytest.raises(OutOfOrder, match="message 1 of a connection came twice or late"):
        twice.read(first)
    with pytest.raises(OutOfOrder, match="message 3 of a connection came where 2 was due"):
        gap.read(third)
    assert second != third


def test_another_wire_version_is_refused_by_name_whatever_else_it_says(reader: FrameReader[NodeToHead]) -> None:
    of_the_future = msgspec.msgpack.encode([CONTROL_WIRE + 1, {"all": "new"}])
    with pytest.raises(WireMismatch, match=f"wire version {CONTROL_WIRE + 1} of control, this one {CONTROL_WIRE}"):
        reader.read([of_the_future, b""])


def test_what_the_other_side_may_not_say_is_refused(writer: FrameWriter, reader: FrameReader[NodeToHead]) -> None:
    header, _ = writer.frames(Leave(), 1)
    with pytest.raises(InternalError, match="no message of this protocol"):
        reader.read([header, msgspec.msgpack.encode({"type": "DeployRun"})])


@given(st.lists(st.binary(max_size=60), max_size=4))
def test_whatever_bytes_come_they_are_refused_in_one_way(frames: list[bytes]) -> None:
    with pytest.raises((InternalError, WireMismatch)):
        new_reader().read(frames)
