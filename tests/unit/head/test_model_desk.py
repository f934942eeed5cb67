"""Requests of peers at the head's plane: replies find who asked, and what a lost peer asked is ended."""

from collections.abc import Sequence

from cluster.head.model_desk import REPLIES_BYTES, ModelDesk, RepliesFor
from cluster.runtime.channel import PeerId
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, ModelCard, ReplyTo, Request, Usage

A, B = PeerId(0, b"a"), PeerId(0, b"b")


class RecordedPlane:
    """An Inference that keeps what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[Request, ...], ReplyTo]] = []
        self.cancelled: list[RequestId] = []

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        self.asked.append((tuple(requests), reply_to))

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        self.cancelled.extend(request_ids)

    def models(self) -> tuple[ModelCard, ...]:
        return ()


def request(name: str) -> EmbedRequest:
    return EmbedRequest(RequestId(name), "m", ("text",))


def vector(name: str, num_bytes: int = 4) -> Embedded:
    return Embedded(RequestId(name), b"\0" * num_bytes, 1, Usage(), EngineId("e"))


def test_replies_come_to_the_peer_that_asked_in_its_epoch() -> None:
    plane, came = RecordedPlane(), list[RepliesFor]()
    desk = ModelDesk(plane, came.append)
    desk.ask(A, 7, [request("x")])
    plane.asked[0][1]([vector("x")])
    assert came == [RepliesFor(A, 7, (vector("x"),))]
    assert list(desk.answered(came[0])) == [(vector("x"),)]
    desk.forget(A)
    assert plane.cancelled == []


def test_many_replies_travel_in_parts_in_order() -> None:
    desk = ModelDesk(RecordedPlane(), lambda replies: None)
    replies = tuple(vector(f"r{number}", REPLIES_BYTES // 3) for number in range(10))
    parts = list(desk.answered(RepliesFor(A, 1, replies)))
    assert len(parts) > 1
    assert tuple(reply for part in parts for reply in part) == replies


def test_a_peer_cancels_its_own_requests_only_and_a_lost_one_all_that_are_open() -> None:
    plane = RecordedPlane()
    desk = ModelDesk(plane, lambda replies: None)
    desk.ask(A, 1, [request("x"), request("y")])
    desk.ask(B, 1, [request("z")])
    desk.cancel(B, [RequestId("x"), RequestId("z")])
    assert plane.cancelled == ["z"]
    list(desk.answered(RepliesFor(A, 1, (vector("x"),))))
    desk.forget(A)
    assert plane.cancelled == ["z", "y"]


def test_what_a_lost_peer_asked_is_ended_in_the_order_in_which_it_was_asked() -> None:
    plane = RecordedPlane()
    desk = ModelDesk(plane, lambda replies: None)
    names = [f"r{number}" for number in range(20)]
    desk.ask(A, 1, [request(name) for name in names])
    desk.forget(A)
    assert plane.cancelled == names
