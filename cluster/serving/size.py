"""What a request weighs: tokens in, tokens out, and the prefix that it may share. Knows no engine and no queue."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import msgspec
from xxhash import xxh3_64_intdigest

from sage.base.inference import ChatRequest, EmbedRequest, GenerateRequest, Request, ScoreRequest

CHARACTERS_PER_TOKEN = 4  # English text and byte-pair vocabularies; only the ratios between requests matter
ASSUMED_ANSWER_TOKENS = 256  # where a request names no max_tokens
BLOCK_BYTES = 512  # one hash of 512 bytes costs 1.3 us in 4 KB, of 64 bytes 6.7 us (measured 2026-11-22)
NUM_EVEN_BLOCKS = 64  # then each block is twice as long as the one before: no prompt costs more than about 80 hashes


WORK_OF_ANSWER_TOKEN = 8.0
"""Prompt tokens that take an engine as long as one token of an answer in a full batch: 10 and 13 for the measured A100
and H100, 4 for two CPU cores (`engines/cost.py`, decode at the largest batch over prefill)."""


def work_of(prompt_tokens: int, answer_tokens: float) -> float:
    """Return the work of so many tokens, in prompt tokens."""
    return prompt_tokens + WORK_OF_ANSWER_TOKEN * answer_tokens


class Size(msgspec.Struct, frozen=True):
    """Tokens of the prompt (or of all texts), and of the longest answer; 0 where nothing is generated."""

    prompt_tokens: int
    answer_tokens: int = 0

    @property
    def work(self) -> float:
        """What it takes an engine that has nothing of it cached, in prompt tokens."""
        return work_of(self.prompt_tokens, self.answer_tokens)

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.answer_tokens


class PromptPrefix(msgspec.Struct, frozen=True):
    """A prompt cut into blocks. `hashes[i]` stands for all of the prompt up to the end of block i, which is
    `ends_tokens[i]` tokens long; of different tenants, or models (adapters too), it is never equal."""

    hashes: tuple[int, ...] = ()
    ends_tokens: tuple[int, ...] = ()


class Sizing(Protocol):
    """How requests are measured: by their text when live, by the trace in a replay."""

    def size(self, request: Request) -> Size: ...

    def prefix(self, request: Request) -> PromptPrefix:
        """Return the blocks of a generation's prompt; none for embeddings."""
        ...

    def session(self, request: Request) -> int:
        """Return what the requests of one conversation have in common."""
        ...


class TextSizing:
    """Measures by characters. Blocks are of the messages' bytes, before any template."""

    def size(self, request: Request) -> Size:
        match request:
            case ChatRequest():
                num_characters = 0
                for message in request.messages:
                    num_characters += len(message.content)
                return _generation(num_characters, request.sampling.max_tokens)
            case GenerateRequest():
                return _generation(len(request.prompt), request.sampling.max_tokens)
            case EmbedRequest():
                return Size(1 + sum(map(len, request.texts)) // CHARACTERS_PER_TOKEN)
            case ScoreRequest(query=query, texts=texts):  # each text is read with the query before it
                return Size(1 + (sum(map(len, texts)) + len(texts) * len(query)) // CHARACTERS_PER_TOKEN)

    def prefix(self, request: Request) -> PromptPrefix:
        text = _prompt_bytes(request)
        ends_bytes = _cuts(len(text))
        hashes: list[int] = []
        before, start = _salt(request.tenant, request.model), 0
        for end in ends_bytes:
            before = xxh3_64_intdigest(text[start:end], before)
            hashes.append(before)
            start = end
        return PromptPrefix(tuple(hashes), tuple([end // CHARACTERS_PER_TOKEN for end in ends_bytes]))

    def session(self, request: Request) -> int:
        """A conversation is known by its tenant, model and what was said first: it only grows at its end."""
        match request:
            case ChatRequest(messages=messages):
                first = next((n for n, message in enumerate(messages, 1) if message.role == "user"), len(messages))
                opening = "\x00".join(f"{message.role}\x01{message.content}" for message in messages[:first])
            case GenerateRequest(prompt=prompt):
                opening = prompt[:BLOCK_BYTES]
            case EmbedRequest() | ScoreRequest():
                opening = ""
        return xxh3_64_intdigest(f"{request.tenant}\x02{request.model}\x02{opening}".encode("utf-8", "surrogatepass"))


@lru_cache(maxsize=4096)
def _salt(tenant: str, model: str) -> int:
    """Return what the blocks of a tenant's prompts begin from: what is kept for one adapter is no other's."""
    return xxh3_64_intdigest(f"{tenant}\x02{model}".encode("utf-8", "surrogatepass"))


def _generation(num_characters: int, max_tokens: int | None) -> Size:
    answer_tokens = ASSUMED_ANSWER_TOKENS if max_tokens is None else max_tokens
    return Size(1 + num_characters // CHARACTERS_PER_TOKEN, answer_tokens)


def _prompt_bytes(request: Request) -> bytes:
    match request:
        case ChatRequest(messages=messages):
            text = "\x00".join([f"{message.role}\x01{message.content}" for message in messages])
        case GenerateRequest(prompt=prompt):
            text = prompt
        case EmbedRequest() | ScoreRequest():
            text = ""
    return text.encode("utf-8", "surrogatepass")


def _cuts(len_bytes: int) -> Sequence[int]:
    """Return where whole blocks of a prompt end; what is left at its end is in none: the next turn goes on from there.

    >>> _cuts(1600)
    range(512, 1601, 512)
    """
    even = range(BLOCK_BYTES, min(len_bytes, _EVEN_BYTES) + 1, BLOCK_BYTES)
    if len_bytes < _EVEN_BYTES + 2 * BLOCK_BYTES:
        return even
    ends, len_block = list(even), 2 * BLOCK_BYTES
    while ends[-1] + len_block <= len_bytes:
        ends.append(ends[-1] + len_block)
        len_block *= 2
    return ends


_EVEN_BYTES = BLOCK_BYTES * NUM_EVEN_BLOCKS
