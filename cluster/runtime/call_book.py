"""The model calls of one task, so that none of which the answer was kept is made again. Knows no disk and no machine.

A call is known by all that changes its answer: the model, what is asked of it, and how the answer is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Literal, Protocol, TypeVar

import msgspec

from operators.machine import Counts
from sage.base.ids import EngineId, RequestId
from sage.base.inference import (
    ChatRequest,
    Embedded,
    EmbedRequest,
    Failed,
    Finished,
    GenerateRequest,
    Last,
    Reply,
    Request,
    TextsRequest,
    Token,
    Usage,
)

A = TypeVar("A")
JOURNAL = EngineId("journal")
"""Who answers where no engine was asked."""


class CallJournal(Protocol):
    """Keeps calls beyond the process; used by the task's thread. A key is 16 bytes."""

    def take(self, key: bytes) -> bytes | None:
        """Return an answer that was kept before, each once."""
        ...

    def drop(self, key: bytes, answer: bytes) -> None:
        """Keep an answer no longer that was taken and cannot be read."""
        ...

    def asks(self, keys: Sequence[bytes]) -> int:
        """Account for calls that are made now; return how many of them were out when an earlier run was killed."""
        ...

    def ended(self, answers: Sequence[tuple[bytes, bytes | None]]) -> None:
        """Keep answers; None: the call failed."""
        ...

    def close(self) -> None: ...


class _Said(msgspec.Struct, frozen=True, array_like=True):
    text: str
    reason: Literal["stop", "length"]
    usage: Usage


class _Vector(msgspec.Struct, frozen=True, array_like=True):
    vector: bytes
    usage: Usage


@dataclass(slots=True)
class _Out:
    """A request that is out. `known`: vectors of its texts that were not asked again, by where they stand."""

    keys: list[bytes]
    known: dict[int, _Vector] = field(default_factory=dict)
    pieces: list[str] = field(default_factory=list)


_ENCODER = msgspec.msgpack.Encoder()
_SAID = msgspec.msgpack.Decoder(_Said)
_VECTOR = msgspec.msgpack.Decoder(_Vector)


class CallBook:
    """Stands between a task and the control plane."""

    def __init__(self, journal: CallJournal, *, is_cache: bool = False) -> None:
        """`is_cache`: what is known is counted as such, and not as replayed."""
        self._journal = journal
        self._is_cache = is_cache
        self._out: dict[RequestId, _Out] = {}
        self._is_closed = False

    def ask(self, requests: Sequence[Request], counts: Counts) -> tuple[list[Request], list[Reply]]:
        """Return what is to be asked now, and the replies to all else."""
        asked: list[Request] = []
        known: list[Reply] = []
        keys: list[bytes] = []
        for request in requests:
            left = self._known_texts(request, known, counts)
            if left is not None:
                asked.append(left)
                keys += self._out[left.id].keys
        if keys:
            counts.num_repeated += self._journal.asks(keys)
        return asked, known

    def hear(self, replies: Sequence[Reply]) -> list[Reply]:
        """Keep the answers among `replies`; return these with what was known of their requests before."""
        ended: list[tuple[bytes, bytes | None]] = []
        heard: list[Reply] = []
        for reply in replies:
            out = self._out.get(reply.request_id)
            if out is None:
                heard.append(reply)
            elif isinstance(reply, Token):
                out.pieces.append(reply.text)
                heard.append(reply)
            else:
                del self._out[reply.request_id]
                heard.append(_ended(reply, out, ended))
        if ended:
            self._journal.ended(ended)
        return heard

    def withdraw(self, request_ids: Sequence[RequestId]) -> None:
        """Account for requests that nobody waits for; once it is closed they stay known as out: they come again."""
        if self._is_closed:
            return
        for request_id in request_ids:
            out = self._out.pop(request_id, None)
            if out is not None:
                self._journal.ended([(key, None) for key in out.keys])

    def close(self) -> None:
        self._is_closed = True
        self._journal.close()

    def _known_texts(self, request: Request, known: list[Reply], counts: Counts) -> Request | None:
        """Return what is left to be asked of a request; a reply goes to `known` where nothing is."""
        if isinstance(request, TextsRequest):
            return self._known_vectors(request, known, counts)
        key = key_of(request)
        said = self._taken(key, _SAID, counts)
        if said is None:
            self._out[request.id] = _Out([key])
            return request
        self._count(1, counts)
        known.append(Token(request.id, said.text, said.usage.completion_tokens))
        known.append(Finished(request.id, said.reason, said.usage, JOURNAL))
        return None

    def _taken(self, key: bytes, decoder: msgspec.msgpack.Decoder[A], counts: Counts) -> A | None:
        """Return what was kept; what cannot be read is dropped, and nothing was: another version may have kept it."""
        answer = self._journal.take(key)
        if answer is None:
            return None
        try:
            return decoder.decode(answer)
        except msgspec.DecodeError:
            self._journal.drop(key, answer)
            counts.num_unreadable += 1
            return None

    def _count(self, num_known: int, counts: Counts) -> None:
        if self._is_cache:
            counts.num_cached += num_known
        else:
            counts.num_replayed += num_known

    def _known_vectors(self, request: TextsRequest, known: list[Reply], counts: Counts) -> TextsRequest | None:
        keys = keys_of_texts(request)
        known_vectors = (self._taken(key, _VECTOR, counts) for key in keys)
        found = {at: vector for at, vector in enumerate(known_vectors) if vector is not None}
        self._count(len(found), counts)
        left = [at for at in range(len(keys)) if at not in found]
        if not left:
            known.append(_embedded(request.id, [found[at] for at in range(len(keys))], JOURNAL))
            return None
        self._out[request.id] = _Out([keys[at] for at in left], found)
        return msgspec.structs.replace(request, texts=tuple(request.texts[at] for at in left))


def _key(asked: object) -> bytes:
    return blake2b(_ENCODER.encode(asked), digest_size=16).digest()


def keys_of_texts(request: TextsRequest) -> list[bytes]:
    """Return by what the answer to each text is known: its vector, or how it answers the query."""
    if isinstance(request, EmbedRequest):
        return [key_of_text(request.model, text) for text in request.texts]
    return [_key(("score", request.model, request.query, text)) for text in request.texts]


def key_of_text(model: str, text: str) -> bytes:
    """Return by what the vector of a text is known."""
    return _key(("embed", model, text))


def key_of(request: ChatRequest | GenerateRequest) -> bytes:
    """Return by what a request is known, whoever asks it and however urgently."""
    if isinstance(request, ChatRequest):
        return _key(("chat", request.model, request.messages, request.sampling))
    return _key(("generate", request.model, request.prompt, request.sampling))


def _ended(reply: Last, out: _Out, ended: list[tuple[bytes, bytes | None]]) -> Reply:
    match reply:
        case Failed():
            ended.extend((key, None) for key in out.keys)
            return reply
        case Finished():
            said = _Said("".join(out.pieces), reply.reason, reply.usage)
            ended.append((out.keys[0], _ENCODER.encode(said)))
            return reply
        case Embedded():
            vectors = _vectors(reply, len(out.keys))
            ended.extend((key, _ENCODER.encode(vector)) for key, vector in zip(out.keys, vectors, strict=True))
            if not out.known:
                return reply
            asked = iter(vectors)
            num_texts = len(out.keys) + len(out.known)
            merged = [out.known[at] if at in out.known else next(asked) for at in range(num_texts)]
            return _embedded(reply.request_id, merged, reply.engine_id)


def _vectors(reply: Embedded, num_texts: int) -> list[_Vector]:
    """Return each text's vector; the tokens of all are counted with the first."""
    len_bytes = 4 * reply.dim
    return [
        _Vector(reply.vectors[at * len_bytes : (at + 1) * len_bytes], Usage() if at else reply.usage)
        for at in range(num_texts)
    ]


def _embedded(request_id: RequestId, vectors: Sequence[_Vector], engine_id: EngineId) -> Embedded:
    whole = b"".join(vector.vector for vector in vectors)
    usage = Usage(
        sum(vector.usage.prompt_tokens for vector in vectors),
        sum(vector.usage.completion_tokens for vector in vectors),
        sum(vector.usage.cached_tokens for vector in vectors),
    )
    return Embedded(request_id, whole, len(vectors[0].vector) // 4, usage, engine_id)
