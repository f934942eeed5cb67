"""Asking the models of a cluster from a test, without a gateway. Knows no test."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from cluster.client.cluster import RemoteCluster
from sage.base.ids import RequestId, new_id
from sage.base.inference import ChatMessage, ChatRequest, Failed, Finished, Last, Reply, Token

DEADLINE_S = 60.0


@dataclass
class Asked:
    """A request and what came of it; it ends once."""

    request: ChatRequest
    replies: list[Reply] = field(default_factory=list)
    has_token: threading.Event = field(default_factory=threading.Event)
    has_ended: threading.Event = field(default_factory=threading.Event)

    def take(self, replies: Sequence[Reply]) -> None:
        self.replies += replies
        if any(isinstance(reply, Token) for reply in replies):
            self.has_token.set()
        if any(isinstance(reply, Last) for reply in replies):
            self.has_ended.set()

    @property
    def last(self) -> Last:
        assert self.has_ended.wait(DEADLINE_S)
        [last] = [reply for reply in self.replies if isinstance(reply, Last)]
        return last

    @property
    def text(self) -> str:
        assert isinstance(self.last, Finished), self.last
        return "".join(reply.text for reply in self.replies if isinstance(reply, Token))

    @property
    def code(self) -> str:
        assert isinstance(self.last, Failed), self.last
        return self.last.failure.code


def ask(cluster: RemoteCluster, model: str, text: str, timeout_s: float | None = None) -> Asked:
    request_id = RequestId(new_id("r", Random()))
    asked = Asked(ChatRequest(request_id, model, (ChatMessage("user", text),), timeout_s=timeout_s))
    cluster.inference.submit([asked.request], asked.take)
    return asked
