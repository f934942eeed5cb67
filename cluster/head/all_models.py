"""All that can be asked of a cluster: flows that answer as models, and what engines serve. Knows no socket."""

from collections.abc import Sequence

from cluster.head.chat_desk import ChatDesk
from sage.base.ids import RequestId
from sage.base.inference import Inference, ModelCard, ReplyTo, Request


class AllModels:
    """An Inference for the thread of the desk: what is no flow's goes to the plane."""

    def __init__(self, chats: ChatDesk, plane: Inference) -> None:
        self._chats = chats
        self._plane = plane

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        of_flows = [request for request in requests if self._chats.answers_as(request.model)]
        self._chats.submit(of_flows, reply_to)
        others = [request for request in requests if request not in of_flows] if of_flows else requests
        if others:
            self._plane.submit(others, reply_to)

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        others = [request_id for request_id in request_ids if not self._chats.has(request_id)]
        self._chats.cancel(request_ids)
        if others:
            self._plane.cancel(others)

    def models(self) -> tuple[ModelCard, ...]:
        return self._plane.models()
