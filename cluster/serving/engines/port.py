"""What every engine must do, and what the plane knows of it. Knows no engine."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from cluster.serving.engines.figures import Said
from cluster.serving.engines.tokenizer_port import AskTokenizer, TokenizerDesk, Told
from sage.base.ids import EngineId, RequestId
from sage.base.inference import Failure, Kind, ModelCard, Reply, Request


class EngineInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An engine that is ready.

    `max_running`: requests it works on at once (generation: sequences of its batch; embeddings: requests held).
    `max_batch_texts`: texts it embeds or scores best in one go; 0 where it does neither. `gives_back`: what it is told
    to stop before its first token takes it no more time, so that it is worth taking back. `adapter_slots`: adapters
    among `models` that it has ready at once; 0: all.
    """

    engine_id: EngineId
    kind: str
    device: str
    simulated: bool
    models: tuple[ModelCard, ...]
    max_running: int
    max_batch_texts: int = 0
    gives_back: bool = True
    adapter_slots: int = 0

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters that it offers."""
        return tuple(card.name for card in self.models if card.parent is not None)

    def card(self, model: str, kind: Kind) -> ModelCard | None:
        """Return the card of `model` if this engine serves it for `kind`."""
        return next((card for card in self.models if card.name == model and kind in card.kinds), None)


class Engine(Protocol):
    """An engine within its host process; driven by one thread.

    Each request added ends in exactly one `Last` given by `step`; a cancelled one in `Failed` with RequestCancelled
    (or in what ended it before). Tokens of one request come in order, before its `Last`; after that its id may come
    again.
    `wake_fd` becomes readable when `step` brings something on that `due_in_s` could not know of; None: never.
    `tokenizer` is asked between two steps.
    """

    wake_fd: int | None

    @property
    def tokenizer(self) -> TokenizerDesk: ...

    def info(self) -> EngineInfo: ...

    def add(self, requests: Sequence[Request]) -> None:
        """Take `requests`; what is wrong with one comes as its `Failed`, never as an exception."""
        ...

    def cancel(self, request_ids: Sequence[RequestId]) -> None:
        """Stop working on these; unknown and ended ids are passed over."""
        ...

    def step(self) -> list[Reply]:
        """Do one iteration of work and return what it brought; cheap where there is nothing to do."""
        ...

    def has_work(self) -> bool:
        """Say whether a request added has not ended yet."""
        ...

    def due_in_s(self) -> float | None:
        """Return in how many seconds the next `step` brings something on; 0 at once, None not before an `add`."""
        ...

    def figures(self) -> Said | None:
        """Return what it says of itself, once where it is new; None where it says nothing (more). Called after `step`,
        until it says nothing."""
        ...

    def close(self) -> None:
        """Free the device; requests in work end in no reply any more."""
        ...


class Run(msgspec.Struct, frozen=True, tag="run", forbid_unknown_fields=True):
    """To a host: work on these."""

    requests: tuple[Request, ...]


class Abort(msgspec.Struct, frozen=True, tag="abort", forbid_unknown_fields=True):
    """To a host: stop working on these."""

    request_ids: tuple[RequestId, ...]


class Shutdown(msgspec.Struct, frozen=True, tag="shutdown", forbid_unknown_fields=True):
    """To a host: close the engine and end."""


ToHost = Run | Abort | AskTokenizer | Shutdown


class Ready(msgspec.Struct, frozen=True, tag="ready", forbid_unknown_fields=True):
    """From a host, once: the engine is loaded and prewarmed. `wire` is the protocol version it speaks."""

    wire: int
    info: EngineInfo


class StartFailed(msgspec.Struct, frozen=True, tag="start_failed", forbid_unknown_fields=True):
    """From a host, instead of Ready; the host ends after it."""

    failure: Failure


class Replies(msgspec.Struct, frozen=True, tag="replies", forbid_unknown_fields=True):
    """From a host: what one iteration brought."""

    replies: tuple[Reply, ...]


class Seen(msgspec.Struct, frozen=True, tag="seen", forbid_unknown_fields=True):
    """From a host: what the engine says of itself."""

    said: Said


FromHost = Ready | StartFailed | Replies | Seen | Told

WIRE_VERSION = 9
MAX_FRAME_BYTES = 16 * 1024 * 1024
MAX_FRAMES = 1000  # that wait in either direction; then the sender is told
