"""Chat requests as the source of a stream, and what users see of one. Knows nothing of who asks or answers."""

from dataclasses import dataclass
from typing import Any, NoReturn

from sage.base.errors import SourceUnreadable
from sage.base.inference import ChatRequest
from sage.flow.check_numbers import Fault
from sage.flow.undealt import ELSEWHERE


@dataclass(frozen=True, slots=True)
class ChatSource:
    """The requests to the model `name`; `num_ways` lead from here to a reply."""

    name: str
    num_ways: int = 1

    def undealt(self) -> Fault | None:
        """Return why one instance reads it."""
        what = f"chat requests for {self.name!r} are given to one task, which keeps each with its reply"
        return Fault(what, ELSEWHERE)

    def open(self) -> NoReturn:
        """Raise SourceUnreadable: only the nodes of a cluster are given chat requests."""
        raise SourceUnreadable(
            f"chat requests for {self.name!r} come from a gateway, and none is connected here",
            "Submit the flow to a cluster (sage-cluster submit), and serve that: sage-gateway serve --cluster.",
        )


def record_of(request: ChatRequest) -> dict[str, Any]:
    """Return `request` as the steps of a flow see it; `Flow.from_chat` says what the fields mean."""
    asked = [message.content for message in request.messages if message.role == "user"]
    sampling = request.sampling
    return {
        "question": asked[-1] if asked else "",
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "tenant": request.tenant,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
        "max_tokens": sampling.max_tokens,
    }
