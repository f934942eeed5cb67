"""Requests of tasks on their way to the head: each ends in one reply, whatever becomes of the head."""

from collections.abc import Sequence

import numpy as np

from cluster.node.model_asker import ModelAsker
from cluster.runtime.control import MAX_FRAME_BYTES, InferenceAsk, InferenceCancel
from sage.base.errors import ClusterUnreachable
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Embedded, EmbedRequest, Failed, Finished, Reply, Token, Usage


class Task:
    """Who asks, and what came."""

    def __init__(self) -> None:
        self.came: list[list[Reply]] = []

    def reply_to(self, replies: Sequence[Reply]) -> None:
        self.came.append(list(replies))

    def codes(self) -> dict[str, str]:
        failed = [reply for part in self.came for reply in part if isinstance(reply, Failed)]
        return {reply.request_id: reply.failure.code for reply in failed}


def request(name: str, text: str = "text") -> EmbedRequest:
    return EmbedRequest(RequestId(name), "m", (text,))


def vector(name: str) -> Embedded:
    return Embedded(RequestId(name), b"", 0, Usage(), EngineId("e"))


def test_replies_find_their_askers_in_order_and_neighbours_come_together() -> None:
    asker, one, other = ModelAsker(lambda: True), Task(), Task()
    asker.inference.submit([request("a"), request("b")], one.reply_to)
    asker.inference.submit([request("c")], other.reply_to)
    assert asker.outgoing() == [InferenceAsk((request("a"), request("b"))), InferenceAsk((request("c"),))]
    token = Token(RequestId("a"), "x")
    done = Finished(RequestId("a"), "stop", Usage(), EngineId("e"))
    asker.replied([token, done, vector("b"), vector("c"), vector("unknown")])
    assert one.came == [[token, done, vector("b")]]
    assert other.came == [[vector("c")]]
    asker.replied([vector("a")])
    assert len(one.came) == 1


def test_a_request_is_withdrawn_after_it_was_sent() -> None:
    asker, task = ModelAsker(lambda: True), Task()
    asker.inference.submit([request("a")], task.reply_to)
    asker.inference.cancel([RequestId("a")])
    assert asker.outgoing() == [InferenceAsk((request("a"),)), InferenceCancel((RequestId("a"),))]


def test_what_was_sent_fails_with_the_head_and_what_comes_after_the_end_is_refused() -> None:
    asker, task = ModelAsker(lambda: True), Task()
    asker.inference.submit([request("a")], task.reply_to)
    asker.outgoing()
    asker.fail_all(ClusterUnreachable("gone"))
    asker.fail_all(ClusterUnreachable("gone"))
    asker.close()
    asker.inference.submit([request("b")], task.reply_to)
    assert task.codes() == {"a": "SAGE-2502", "b": "SAGE-2202"}


def test_requests_too_large_together_travel_apart_and_one_that_cannot_travel_fails_alone() -> None:
    asker, task = ModelAsker(lambda: True), Task()
    large = [request(f"large-{number}", "x" * (MAX_FRAME_BYTES // 2)) for number in range(2)]
    impossible = [
        request("huge", "x" * MAX_FRAME_BYTES),
        request("half", "half a \ud83d character"),
        request("foreign", np.str_("a text of NumPy")),
    ]
    asker.inference.submit([*large, *impossible], task.reply_to)
    assert asker.outgoing() == [InferenceAsk((one,)) for one in large]
    assert task.codes() == {"huge": "SAGE-1203", "half": "SAGE-1203", "foreign": "SAGE-1203"}
