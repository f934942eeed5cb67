"""The models of the cluster as tasks of a node ask them: handed in on any thread, sent by one, answered there.

Knows no socket. Every request ends in one reply, also where the head is lost.
"""

from collections.abc import Callable, Iterator, Sequence

import msgspec

from cluster.runtime.control import MAX_FRAME_BYTES, InferenceAsk, InferenceCancel
from cluster.serving.door import Door, HandedIn
from sage.base.codec import UNSENDABLE
from sage.base.errors import InvalidRequest, SageError
from sage.base.ids import RequestId
from sage.base.inference import Failed, Failure, Inference, Last, ModelCard, Reply, ReplyTo, Request

_FRAME_BYTES = MAX_FRAME_BYTES - 1024


class ModelAsker:
    """Requests on their way and those who asked them."""

    def __init__(self, knock: Callable[[], bool]) -> None:
        """`knock` has the thread that owns this call `outgoing` soon; False where it has ended."""
        self._door = Door(knock, lambda: self._models)
        self._models: tuple[ModelCard, ...] = ()
        self._askers: dict[RequestId, ReplyTo] = {}

    @property
    def inference(self) -> Inference:
        """What tasks ask; usable on any thread."""
        return self._door

    def know(self, models: tuple[ModelCard, ...]) -> None:
        self._models = models

    def outgoing(self) -> list[InferenceAsk | InferenceCancel]:
        """Return what is to be sent now; what cannot travel is answered here."""
        messages: list[InferenceAsk | InferenceCancel] = []
        for entry in self._door.fetch():
            if isinstance(entry, HandedIn):
                for requests in self._fitting(entry.requests, entry.reply_to):
                    self._askers.update((request.id, entry.reply_to) for request in requests)
                    messages.append(InferenceAsk(requests))
            else:
                messages.append(InferenceCancel(entry.request_ids))
        return messages

    def replied(self, replies: Sequence[Reply]) -> None:
        """Give replies to those who asked, in order; neighbours of one asker together."""
        for reply_to, some in self._by_asker(replies):
            reply_to(some)

    def fail_all(self, error: SageError) -> None:
        """End every request that was sent."""
        failure = Failure.of(error)
        self.replied([Failed(request_id, failure) for request_id in list(self._askers)])

    def close(self) -> None:
        """Refuse what still comes."""
        self._door.close()

    def _by_asker(self, replies: Sequence[Reply]) -> Iterator[tuple[ReplyTo, list[Reply]]]:
        asker: ReplyTo | None = None
        held: list[Reply] = []
        for reply in replies:
            take = self._askers.pop if isinstance(reply, Last) else self._askers.get
            of_reply = take(reply.request_id, None)
            if of_reply is None:
                continue
            if asker is not None and of_reply is not asker:
                yield asker, held
                held = []
            asker = of_reply
            held.append(reply)
        if asker is not None and held:
            yield asker, held

    def _fitting(self, requests: tuple[Request, ...], reply_to: ReplyTo) -> Iterator[tuple[Request, ...]]:
        """Yield `requests` in groups that fit in a message each."""
        if not requests:
            return
        if _fits(requests):
            yield requests
        elif len(requests) == 1:
            what = f"the request holds what cannot be sent, or is longer than {_FRAME_BYTES:,} bytes"
            do = "Send less: valid Unicode as plain str, and numbers of 64 bits."
            failure = Failure.of(InvalidRequest(what, do))
            reply_to([Failed(requests[0].id, failure)])
        else:
            middle = len(requests) // 2
            yield from self._fitting(requests[:middle], reply_to)
            yield from self._fitting(requests[middle:], reply_to)


def _fits(requests: tuple[Request, ...]) -> bool:
    try:
        return len(msgspec.msgpack.encode(requests)) <= _FRAME_BYTES
    except UNSENDABLE:
        return False
