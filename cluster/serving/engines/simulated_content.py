"""What a simulated engine says: token counts, numbered words, vectors by hash. Knows nothing of time or cost."""

import array
import hashlib
import math
import sys

from sage.base.inference import ChatRequest, GenerateRequest

BYTES_PER_TOKEN = 4  # a token of English prose is about four bytes


def num_tokens(text: str) -> int:
    """Return how many tokens a simulated model sees in `text`.

    >>> num_tokens("four"), num_tokens("fours"), num_tokens("")
    (1, 2, 1)
    """
    return max(1, -(-len(text.encode()) // BYTES_PER_TOKEN))


def prompt_text(request: ChatRequest | GenerateRequest) -> str:
    """Return the text whose tokens a request is charged for."""
    if isinstance(request, ChatRequest):
        return "\n".join(f"{message.role}: {message.content}" for message in request.messages)
    return request.prompt


def numbered_word(number: int) -> str:
    """Return the token that comes `number`-th (from 1) in every simulated answer.

    >>> numbered_word(1) + numbered_word(2)
    'simulated-1 simulated-2'
    """
    return f"simulated-{number}" if number == 1 else f" simulated-{number}"


def hash_vector(text: str, dim: int) -> bytes:
    """Return a unit vector, little-endian float32 [dim], that depends on `text` alone, on every machine."""
    data = array.array("h", hashlib.shake_256(text.encode()).digest(2 * dim))
    if sys.byteorder == "big":
        data.byteswap()
    norm = math.sqrt(sum(value * value for value in data)) or 1.0
    vector = array.array("f", (value / norm for value in data))
    if sys.byteorder == "big":
        vector.byteswap()
    return vector.tobytes()
