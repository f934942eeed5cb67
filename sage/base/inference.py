"""Messages to and from models, and the port through which everybody asks. Knows nothing of engines or HTTP."""

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Literal, Protocol, final

import msgspec

from sage.base.error_codes import error_classes
from sage.base.errors import InternalError, SageError
from sage.base.ids import EngineId, RequestId


class ServiceClass(StrEnum):
    """How urgent a request is; the `priority` policy serves the classes in this order."""

    INTERACTIVE = "interactive"
    STANDARD = "standard"
    BATCH = "batch"


class Kind(StrEnum):
    """What is asked of a model."""

    CHAT = "chat"
    GENERATE = "generate"
    EMBED = "embed"
    SCORE = "score"


class ModelCard(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model as an engine serves it. `dim` is the length of its vectors, for models that embed.

    `parent`: of an adapter (LoRA) the model that it changes, which the same engine serves; None for a model of its own.
    """

    name: str
    kinds: tuple[Kind, ...]
    context_tokens: int
    dim: int | None = None
    parent: str | None = None


class ChatMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    role: Literal["system", "user", "assistant"]
    content: str


class Sampling(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an answer is drawn. `temperature` 0 is greedy. `max_tokens` None: up to what the context leaves."""

    max_tokens: int | None = None
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which step of which flow asks, and about which of its records.

    `record`: what all calls about one record have in common; empty where they have nothing. `due_in_s`: how long after
    submission the record is due at the end of its flow; None: at no time.
    """

    flow: str
    step: str
    record: str = ""
    due_in_s: float | None = None


class ChatRequest(msgspec.Struct, frozen=True, tag="chat", forbid_unknown_fields=True):
    """Ask for the next message of a conversation. `timeout_s` counts from submission; None: no deadline. `origin`: the
    step that asks, where a flow does."""

    id: RequestId
    model: str
    messages: tuple[ChatMessage, ...]
    sampling: Sampling = Sampling()
    service_class: ServiceClass = ServiceClass.STANDARD
    tenant: str = "default"
    timeout_s: float | None = None
    origin: Origin | None = None


class GenerateRequest(msgspec.Struct, frozen=True, tag="generate", forbid_unknown_fields=True):
    """Ask to go on with a raw prompt; no chat template is applied."""

    id: RequestId
    model: str
    prompt: str
    sampling: Sampling = Sampling()
    service_class: ServiceClass = ServiceClass.STANDARD
    tenant: str = "default"
    timeout_s: float | None = None
    origin: Origin | None = None


class EmbedRequest(msgspec.Struct, frozen=True, tag="embed", forbid_unknown_fields=True):
    """Ask for one vector a text, in order. At most MAX_EMBED_TEXTS texts; longer lists are split by whoever asks.

    `part_of` names the list that was split, alike for all its parts: to the quota of a tenant they are one request.
    """

    id: RequestId
    model: str
    texts: tuple[str, ...]
    service_class: ServiceClass = ServiceClass.STANDARD
    tenant: str = "default"
    timeout_s: float | None = None
    origin: Origin | None = None
    part_of: RequestId | None = None


class ScoreRequest(msgspec.Struct, frozen=True, tag="score", forbid_unknown_fields=True):
    """Ask how well each text answers `query`: one number a text, in order, the greater the better.

    At most MAX_SCORE_TEXTS texts. It is answered by an Embedded with vectors of one number. `part_of` as an
    EmbedRequest has it.
    """

    id: RequestId
    model: str
    query: str
    texts: tuple[str, ...]
    service_class: ServiceClass = ServiceClass.STANDARD
    tenant: str = "default"
    timeout_s: float | None = None
    origin: Origin | None = None
    part_of: RequestId | None = None


MAX_EMBED_TEXTS = 64  # a request of this many texts keeps an engine busy 0.1-0.5 s: the longest that urgent ones wait

MAX_SCORE_TEXTS = 1024  # of which an engine gets MAX_SCORE_PAIRS at a time

MAX_SCORE_PAIRS = 32  # each is read with the query: twice as long as a text to embed

TextsRequest = EmbedRequest | ScoreRequest
"""What is asked of many texts at once, with an answer a text: engines do it in batches, and equal texts share one."""

TEXT_KINDS = frozenset((Kind.EMBED, Kind.SCORE))
"""The kinds of a TextsRequest."""

_KINDS: dict[type, Kind] = {
    ChatRequest: Kind.CHAT,
    GenerateRequest: Kind.GENERATE,
    EmbedRequest: Kind.EMBED,
    ScoreRequest: Kind.SCORE,
}

Request = ChatRequest | GenerateRequest | EmbedRequest | ScoreRequest


def kind_of(request: Request) -> Kind:
    """Return what `request` asks for."""
    return _KINDS[type(request)]


class Usage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Tokens of one request. `cached_tokens` of the prompt were found in the engine's prefix cache."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


class Failure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A SageError as it travels."""

    code: str
    what: str
    do: str = ""
    param: str | None = None
    retry_after_s: float | None = None

    @staticmethod
    def of(error: SageError) -> "Failure":
        return Failure(error.code, error.what, error.do, error.param, error.retry_after_s)

    def error(self) -> SageError:
        """Return the error this was made from; of a code unknown here, an InternalError that names it."""
        cls = error_classes().get(self.code)
        if cls is None:
            return InternalError(f"an error of unknown code {self.code}: {self.what}", self.do)
        return cls(self.what, self.do, param=self.param, retry_after_s=self.retry_after_s)


class Served(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who served a request: the policy that picked it, the route that chose the engine, and the engine.

    `num_taken_back`: how often an engine gave it back before its first token, so that an urgent one began.
    """

    policy: str
    route: str
    engine_id: EngineId
    num_taken_back: int = 0


class Token(msgspec.Struct, frozen=True, tag="token", forbid_unknown_fields=True):
    """A piece of the answer: `text` may hold several tokens, or none of its characters yet.

    `served` stands on the first of an answer, and here and below on nothing that comes from elsewhere than a plane.
    """

    request_id: RequestId
    text: str
    num_tokens: int = 1
    served: Served | None = None


class Finished(msgspec.Struct, frozen=True, tag="finished", forbid_unknown_fields=True):
    """The whole answer was sent as tokens before this."""

    request_id: RequestId
    reason: Literal["stop", "length"]
    usage: Usage
    engine_id: EngineId
    served: Served | None = None


class Embedded(msgspec.Struct, frozen=True, tag="embedded", forbid_unknown_fields=True, omit_defaults=True):
    """`vectors`: little-endian float32 [num_texts, dim], row-major, in the order of the texts; of scores, dim is 1.

    `text_tokens`: what each text has, in that order, where an engine can tell; it goes no further than the plane.
    """

    request_id: RequestId
    vectors: bytes
    dim: int
    usage: Usage
    engine_id: EngineId
    text_tokens: tuple[int, ...] = ()
    served: Served | None = None


@final
class Failed(msgspec.Struct, frozen=True, tag="failed", forbid_unknown_fields=True):
    """The request ended without a whole answer.

    Final: `type(last) is Failed` tells it from the others in a sixth of the time that `isinstance` takes to say no to a
    struct (40 and 230 ns).
    """

    request_id: RequestId
    failure: Failure


Last = Finished | Embedded | Failed
"""What ends a request: each request gets exactly one of these."""

Reply = Token | Finished | Embedded | Failed

ReplyTo = Callable[[Sequence[Reply]], None]
"""Takes replies on the plane's own thread: must return at once and must not raise."""


class Inference(Protocol):
    """The one door to every model. Safe to call from any thread unless the implementation says otherwise."""

    def submit(self, requests: Sequence[Request], reply_to: ReplyTo) -> None:
        """Take `requests`; each ends in exactly one `Last` given to `reply_to`, refusals included; never raises."""
        ...

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        """End these requests now, wherever they are; ids already ended are passed over."""
        ...

    def models(self) -> tuple[ModelCard, ...]:
        """Return the models that engines serve now."""
        ...
