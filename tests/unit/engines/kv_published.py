"""What vLLM publishes of its cache, as its frames, and a socket that publishes as it does. Knows no test."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

import msgspec
import zmq

from cluster.serving.engines.kv_events import END_NUMBER

Frames = tuple[bytes, bytes, bytes]


def batch(*events: Mapping[str, object], rank: int = 0) -> bytes:
    return msgspec.msgpack.encode([1.5, list(events), rank])


def number(n: int) -> bytes:
    return n.to_bytes(8, "big")


def stored(tokens: Sequence[int], hashes: Sequence[int], parent: int | None = None) -> dict[str, object]:
    """Return blocks of four tokens as vLLM 0.32 packs them: by name, without what is as usual."""
    return {
        "type": "BlockStored",
        "block_hashes": list(hashes),
        "parent_block_hash": parent,
        "token_ids": list(tokens),
        "block_size": 4,
        "lora_id": None,
        "medium": "GPU",
        "lora_name": None,
        "extra_keys": [None] * len(hashes),
        "group_idx": 0,
        "session_id": None,
    }


def removed(*hashes: int) -> dict[str, object]:
    return {"type": "BlockRemoved", "block_hashes": list(hashes), "medium": "GPU", "group_idx": 0}


CLEARED = {"type": "AllBlocksCleared"}


class Publisher:
    """Publishes batches by number, and sends again from a number on what it has `kept`."""

    def __init__(self, folder: Path) -> None:
        self.addresses = (f"ipc://{folder}/kv", f"ipc://{folder}/again")
        self.kept: list[Frames] = []
        self._numbers = count()
        self._context = zmq.Context(io_threads=1)
        self._published = self._context.socket(zmq.XPUB)
        self._published.bind(self.addresses[0])
        self._again = self._context.socket(zmq.ROUTER)
        self._again.bind(self.addresses[1])

    def wait_heard(self) -> None:
        assert self._published.poll(10_000), "nobody subscribes"
        self._published.recv()

    def publish(self, *events: Mapping[str, object], reaches: bool = True) -> Frames:
        """Publish a batch; one that does not reach anybody is lost on its way."""
        frames = (b"", number(next(self._numbers)), batch(*events))
        self.kept.append(frames)
        if reaches:
            self.send(frames)
        return frames

    def send(self, frames: Sequence[bytes]) -> None:
        self._published.send_multipart(frames)

    def send_again(self) -> int:
        """Answer the one who asks next, and return the number from which it did."""
        assert self._again.poll(10_000), "nobody asks"
        who, _, begins = self._again.recv_multipart()
        for frames in self.kept:
            if frames[1] >= begins:
                self._again.send_multipart([who, b"", *frames])
        self._again.send_multipart([who, b"", b"", END_NUMBER, b""])
        return int.from_bytes(begins, "big")

    def close(self) -> None:
        with suppress(zmq.ZMQError):
            self._published.close(linger=0)
            self._again.close(linger=0)
        self._context.term()
