"""Server-sent events out of bytes, however those are cut. Pure; knows nothing of what the events say."""

from sage.base.errors import RequestFailed

MAX_EVENT_BYTES = 1024 * 1024


class EventReader:
    """Gives the data of each event as it becomes whole; comments, ids and names of events are passed over."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._len_data = 0

    def feed(self, piece: bytes) -> list[bytes]:
        """Return the data of the events that `piece` completes; raises RequestFailed where one is too long."""
        lines = (self._rest + piece).split(b"\n")
        self._rest = lines.pop()
        events = [event for line in lines if (event := self._line(line.removesuffix(b"\r"))) is not None]
        self._check(len(self._rest))
        return events

    def _line(self, line: bytes) -> bytes | None:
        if line:
            name, _, value = line.partition(b":")
            if name == b"data":
                self._data.append(value.removeprefix(b" "))
                self._len_data += len(value)
            self._check(0)
            return None
        event, self._data, self._len_data = self._data, [], 0
        return b"\n".join(event) if event else None

    def _check(self, more: int) -> None:
        if self._len_data + more > MAX_EVENT_BYTES:
            raise RequestFailed(f"the server sent an event of more than {MAX_EVENT_BYTES:,} bytes")
