"""How models of a cluster are asked from Python, outside of any flow: what a cluster offers. Knows no runner."""

from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Protocol, Self, TypedDict, Unpack, overload

from sage.base.answers import Completion, Embeddings, Ranking
from sage.base.inference import ChatMessage, Token
from sage.flow.model_options import Priority, Stop

if TYPE_CHECKING:
    from sage.flow.runner import EngineStatus


class Message(TypedDict):
    """A message of a conversation, as OpenAI's API writes it."""

    role: Literal["system", "user", "assistant"]
    content: str


Conversation = str | Sequence[ChatMessage | Message]
"""What a model is to answer: one message of the user, or all so far."""


class AskOptions(TypedDict, total=False):
    """What holds for every question.

    `priority`: by default "interactive"; for several texts to embed "standard". `deadline_s`: in how many seconds the
    answer must be whole, counted from the call, new tries included; None: as long as it takes. `retries`: how often
    the same is asked again where it failed before its first token for want of room or of the engine; waits as long as
    the plane says, and 0 means never. `tenant`: on whose account.
    """

    priority: Priority
    deadline_s: float | None
    tenant: str
    retries: int


class ChatOptions(AskOptions, total=False):
    """What holds for generated text; `temperature` 0, the default, is greedy. `max_tokens`: up to the context's end."""

    max_tokens: int | None
    temperature: float
    top_p: float
    seed: int | None
    stop: Stop


class PromptOptions(ChatOptions, total=False):
    """`system`: what the model is told before the prompt. `raw`: the prompt is sent as it is, without a template."""

    system: str | None
    raw: bool


class TokenStream(Protocol):
    """An answer as it comes; an iterator, and a context manager. Whoever leaves it early ends it at the engine too."""

    @property
    def answer(self) -> Completion:
        """The whole answer, with its usage; raises InvalidRequest before the last token was taken."""
        ...

    def __iter__(self) -> Iterator[Token]: ...

    def __next__(self) -> Token:
        """Wait for the next piece; raises what the request failed with."""
        ...

    def close(self) -> None:
        """End the request, wherever it is; after its end this does nothing."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class AsyncTokenStream(Protocol):
    """A TokenStream for one coroutine; a task that is cancelled while it waits ends the request at the engine too."""

    @property
    def answer(self) -> Completion: ...

    def __aiter__(self) -> AsyncIterator[Token]: ...

    async def __anext__(self) -> Token: ...

    async def aclose(self) -> None: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...


class AsyncModels(Protocol):
    """The models of a cluster for coroutines. One that is cancelled while it waits ends its request at the engine."""

    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Awaitable[Completion]: ...
    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> AsyncTokenStream: ...

    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[False] = False, **options: Unpack[PromptOptions]
    ) -> Awaitable[Completion]: ...
    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[True], **options: Unpack[PromptOptions]
    ) -> AsyncTokenStream: ...

    def embed(self, texts: str | Sequence[str], *, model: str, **options: Unpack[AskOptions]) -> Awaitable[Embeddings]:
        """Return one vector a text."""
        ...

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str,
        k: int | None = None,
        **options: Unpack[AskOptions],
    ) -> Awaitable[Ranking]:
        """Return the documents by how well they answer `query`, the best first."""
        ...

    def engines(self) -> "Awaitable[list[EngineStatus]]": ...


class Models(Protocol):
    """The models of a cluster; for any thread. What is configured or in the catalogue starts when it is first asked.

    All raise UnknownModel, InvalidRequest, Overloaded, QuotaExceeded, BudgetSpent, DeadlineExceeded, NoEngine,
    EngineLost, RequestFailed and ContextOverflow, as SageError tells them apart. Ctrl-C ends the request at the
    engine too.
    """

    @property
    def aio(self) -> AsyncModels:
        """The same for coroutines."""
        ...

    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[False] = False, **options: Unpack[ChatOptions]
    ) -> Completion:
        """Return the next message of a conversation; with `stream`, as it comes."""
        ...

    @overload
    def chat(
        self, messages: Conversation, *, model: str, stream: Literal[True], **options: Unpack[ChatOptions]
    ) -> TokenStream: ...

    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[False] = False, **options: Unpack[PromptOptions]
    ) -> Completion:
        """Return what the model says to a prompt, as the step `generate` does; with `stream`, as it comes."""
        ...

    @overload
    def generate(
        self, prompt: str, *, model: str, stream: Literal[True], **options: Unpack[PromptOptions]
    ) -> TokenStream: ...

    def embed(self, texts: str | Sequence[str], *, model: str, **options: Unpack[AskOptions]) -> Embeddings:
        """Return one vector a text."""
        ...

    def rerank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        model: str,
        k: int | None = None,
        **options: Unpack[AskOptions],
    ) -> Ranking:
        """Return the documents by how well they answer `query`, the best first; with `k`, so many of them."""
        ...

    def engines(self) -> "list[EngineStatus]": ...
