"""Requests of nodes and clients to the head's plane, and the way of their replies. Knows no socket."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from cluster.runtime.channel import PeerId
from sage.base.ids import RequestId
from sage.base.inference import Embedded, Inference, Last, Reply, Request, Token

REPLIES_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class RepliesFor:
    """Replies for the peer that asked."""

    peer: PeerId
    epoch: int
    replies: tuple[Reply, ...]


class ModelDesk:
    """Used by one thread; replies come on the plane's."""

    def __init__(self, plane: Inference, on_replies: Callable[[RepliesFor], object]) -> None:
        """`on_replies` is called on the plane's thread and must not wait."""
        self._plane = plane
        self._on_replies = on_replies
        self._open: dict[PeerId, dict[RequestId, None]] = {}

    def ask(self, peer: PeerId, epoch: int, requests: Sequence[Request]) -> None:
        self._open.setdefault(peer, {}).update((request.id, None) for request in requests)

        def reply_to(replies: Sequence[Reply]) -> None:
            self._on_replies(RepliesFor(peer, epoch, tuple(replies)))

        self._plane.submit(requests, reply_to)

    def cancel(self, peer: PeerId, request_ids: Sequence[RequestId]) -> None:
        """End requests of this peer's; those of others are passed over."""
        own = self._open.get(peer, {})
        self._plane.cancel([request_id for request_id in request_ids if request_id in own])

    def answered(self, replies: RepliesFor) -> Iterator[tuple[Reply, ...]]:
        """Account for replies; yield them in parts that fit in a message each."""
        own = self._open.get(replies.peer)
        if own is not None:
            for reply in replies.replies:
                if isinstance(reply, Last):
                    own.pop(reply.request_id, None)
        part: list[Reply] = []
        num_bytes = 0
        for reply in replies.replies:
            part.append(reply)
            num_bytes += _len_reply(reply)
            if num_bytes >= REPLIES_BYTES:
                yield tuple(part)
                part, num_bytes = [], 0
        if part:
            yield tuple(part)

    def forget(self, peer: PeerId) -> None:
        """End what a peer that is gone has asked."""
        own = self._open.pop(peer, {})
        if own:
            self._plane.cancel(tuple(own))


def _len_reply(reply: Reply) -> int:
    match reply:
        case Embedded(vectors=vectors):
            return len(vectors) + 200
        case Token(text=text):
            return 4 * len(text) + 100
        case _:
            return 500
