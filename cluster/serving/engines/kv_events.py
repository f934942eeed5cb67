"""What vLLM publishes of the blocks that it keeps of prompts and answers, read. Pure; knows no socket and no request.

As vLLM packs it (`vllm/distributed/kv_events.py`, 0.32): frames (topic, number, batch); batches are numbered from 0, so
that one that is missing is seen. A block stored twice, in two places, is told of twice, and removed twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import msgspec

from sage.base.errors import RequestFailed

BlockHash = bytes | int
TokenId = Annotated[int, msgspec.Meta(ge=0, lt=1 << 32)]

END_NUMBER = (-1).to_bytes(8, "big", signed=True)
"""In place of a number: all that was asked for again has been sent."""

_ON_DEVICE = (None, "GPU")  # vLLM's word for where it computes, CPUs too; elsewhere are copies


class BlockStored(msgspec.Struct, frozen=True, tag="BlockStored"):
    """Blocks that follow one another, each of `block_size` of the tokens, after the block `parent_block_hash`."""

    block_hashes: tuple[BlockHash, ...]
    parent_block_hash: BlockHash | None
    token_ids: tuple[TokenId, ...]
    block_size: Annotated[int, msgspec.Meta(ge=1)]
    lora_name: str | None = None
    medium: str | None = None
    extra_keys: tuple[tuple[object, ...] | None, ...] | None = None
    group_idx: int | None = None


class BlockRemoved(msgspec.Struct, frozen=True, tag="BlockRemoved"):
    block_hashes: tuple[BlockHash, ...]
    medium: str | None = None
    group_idx: int | None = None


class AllBlocksCleared(msgspec.Struct, frozen=True, tag="AllBlocksCleared"):
    pass


KvEvent = BlockStored | BlockRemoved | AllBlocksCleared


class _Batch(msgspec.Struct, frozen=True, array_like=True):
    ts: float
    events: tuple[KvEvent, ...]
    data_parallel_rank: int | None = None


_batches = msgspec.msgpack.Decoder(_Batch)


@dataclass(frozen=True, slots=True)
class KvBatch:
    """What one message says of the blocks on the device."""

    number: int
    events: tuple[KvEvent, ...]


def kv_batch(frames: Sequence[bytes]) -> KvBatch:
    """Return what a message says.

    Raises: RequestFailed where it is no batch, or its blocks cannot be told apart by their tokens alone (several groups
    of layers, several ranks): from then on what is kept is not known.
    """
    if len(frames) != 3 or len(frames[1]) != len(END_NUMBER):
        raise RequestFailed(f"what vLLM published of its cache has {len(frames)} frames, or no number")
    try:
        batch = _batches.decode(frames[2])
    except msgspec.DecodeError as error:
        raise RequestFailed(f"what vLLM published of its cache cannot be read: {error}") from error
    if batch.data_parallel_rank or any(getattr(event, "group_idx", None) for event in batch.events):
        raise RequestFailed("vLLM keeps several caches at once, and what is in all of them is not told")
    here = tuple(event for event in batch.events if getattr(event, "medium", None) in _ON_DEVICE)
    return KvBatch(int.from_bytes(frames[1], "big"), here)
