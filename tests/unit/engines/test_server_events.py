"""Server-sent events, however their bytes are cut."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.serving.engines.server_events import MAX_EVENT_BYTES, EventReader
from sage.base.errors import RequestFailed

STREAM = (
    b": hello\r\ndata: one\r\n\r\nid: 7\nevent: x\ndata: two\ndata:  three\n\n\n\nretry: 5\n\ndata:four\n\ndata: rest"
)


@given(st.lists(st.integers(0, len(STREAM)), max_size=20))
def test_events_do_not_depend_on_how_their_bytes_are_cut(cuts: list[int]) -> None:
    reader, at, found = EventReader(), 0, []
    for cut in [*sorted(cuts), len(STREAM)]:
        found += reader.feed(STREAM[at:cut])
        at = cut
    assert found == [b"one", b"two\n three", b"four"]


def test_an_event_that_does_not_end_is_refused() -> None:
    reader, line = EventReader(), b"data: " + b"x" * 1024 + b"\n"
    for _ in range(MAX_EVENT_BYTES // 1025):
        assert reader.feed(line) == []
    with pytest.raises(RequestFailed, match="more than"):
        reader.feed(2 * line)
    with pytest.raises(RequestFailed, match="more than"):
        EventReader().feed(b"x" * (MAX_EVENT_BYTES + 1))
