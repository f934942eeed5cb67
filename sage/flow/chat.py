"""Chat requests as the source of a stream, and what users see of one. Knows nothing of who asks or answers."""

from dataclasses import dataclass
from typing import Literal, NoReturn, TypedDict

from sage.base.errors import SourceUnreadable
from sage.base.inference import ChatRequest


class ChatLine(TypedDict):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant"]
    content: str


class ChatTurn(TypedDict):
    """A chat request as the record that a chat stream begins with.

    `question` is the text of the last message of the user. `temperature`, `top_p`, `seed` and `max_tokens` are what the
    caller asked for; the steps of the flow decide by themselves how they draw.
    """

    question: str
    messages: list[ChatLine]
    tenant: str
    temperature: float
    top_p: float
    seed: int | None
    max_tokens: int | None


@dataclass(frozen=True, slots=True)
class ChatSource:
    """The requests to the model `name`; `num_ways` lead from here to a reply."""

    name: str
    num_ways: int = 1

    def open(self) -> NoReturn:
        """Raise SourceUnreadable: only the nodes of a cluster are given chat requests."""
        raise SourceUnreadable(
            f"chat requests for {self.name!r} come from a gateway, and none is connected here",
            "Submit the flow to a cluster (sage-cluster submit), and serve that: sage-gateway serve --cluster.",
        )


def turn_of(request: ChatRequest) -> ChatTurn:
    """Return `request` as the steps of a flow see it."""
    asked = [message.content for message in request.messages if message.role == "user"]
    sampling = request.sampling
    return ChatTurn(
        question=asked[-1] if asked else "",
        messages=[ChatLine(role=message.role, content=message.content) for message in request.messages],
        tenant=request.tenant,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        seed=sampling.seed,
        max_tokens=sampling.max_tokens,
    )
