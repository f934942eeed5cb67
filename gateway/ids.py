"""Ids of requests, unlike those of any other process. Knows nothing of what is asked."""

from itertools import count
from random import Random

from sage.base.ids import RequestId, new_id


class Ids:
    """Ids that no other process makes: a drawn prefix and a running number."""

    def __init__(self, rng: Random) -> None:
        self._prefix = new_id("r", rng, num_chars=10)
        self._numbers = count()

    def next(self) -> RequestId:
        return RequestId(f"{self._prefix}{next(self._numbers):06x}")
