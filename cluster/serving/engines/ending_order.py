"""Requests that end in the order in which they were asked, whatever order their answers come in. Pure."""

from collections import deque

from sage.base.ids import RequestId
from sage.base.inference import Failed, Reply


class EndingOrder:
    """Holds the end of a request back until those begun before have ended. A failure waits for nothing."""

    def __init__(self) -> None:
        self._begun: deque[RequestId] = deque()
        self._held: dict[RequestId, Reply] = {}

    def begin(self, request_id: RequestId) -> None:
        self._begun.append(request_id)

    def ended(self, last: Reply) -> list[Reply]:
        """Return the ends to be given now; one of a request that did not `begin` here is passed on."""
        if last.request_id not in self._begun:
            return [last]
        now: list[Reply] = []
        if isinstance(last, Failed):
            self._begun.remove(last.request_id)
            self._held.pop(last.request_id, None)
            now.append(last)
        else:
            self._held[last.request_id] = last
        while self._begun and (reply := self._held.pop(self._begun[0], None)) is not None:
            self._begun.popleft()
            now.append(reply)
        return now
