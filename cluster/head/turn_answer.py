"""The answer to one chat request, put together from what tasks say of its records. Pure; knows no connection.

The answer is the whole from 0 to 1. Each record that comes of the request is a part of it (`Place`), and is heard once
all that comes before it has ended; of several that speak for one part, one after another.
"""

from fractions import Fraction
from heapq import heappop, heappush
from typing import NamedTuple

from sage.base.inference import Usage
from sage.base.turns import Place, Reason, TurnShareEnded, TurnText


class _Voice(NamedTuple):
    """Who speaks for which part."""

    begin: Fraction
    speaker: str


class TurnAnswer:
    """Take what is said in any order; get the texts in theirs."""

    def __init__(self) -> None:
        self.usage = Usage()
        self.reason: Reason = "stop"
        self.has_reply = False
        self.len_held = 0
        self._ended = Fraction(0)
        self._clear = Fraction(0)  # all that comes before this has ended
        self._ended_here = Fraction(0)  # of all ways that pass it, those on which what is there has ended
        self._changes: list[tuple[Fraction, Fraction]] = []  # of that, at each later place
        self._held: dict[_Voice, list[str]] = {}
        self._silent: set[_Voice] = set()
        self._speaking: _Voice | None = None

    @property
    def is_whole(self) -> bool:
        return self._ended >= 1

    def used(self, usage: Usage) -> None:
        """Account for one request to a model."""
        so_far = self.usage
        self.usage = Usage(
            so_far.prompt_tokens + usage.prompt_tokens,
            so_far.completion_tokens + usage.completion_tokens,
            so_far.cached_tokens + usage.cached_tokens,
        )

    def said(self, news: TurnText) -> list[str]:
        """Return the texts that are to be passed on now."""
        self._held.setdefault(_voice(news.place, news.speaker), []).append(news.text)
        self.len_held += len(news.text)
        return self._heard()

    def share_ended(self, news: TurnShareEnded) -> list[str]:
        """Account for the end of a record; return the texts that are to be passed on now."""
        place = news.place
        self._ended += place.share
        self._has_ended(place)
        if news.reason is not None:
            self.has_reply = True
            self.reason = "length" if news.reason == "length" else self.reason
            self._silent.add(_voice(place, news.speaker))
        return self._heard()

    def _has_ended(self, place: Place) -> None:
        """Go on to the first place by which not everything has ended that passes there."""
        way = Fraction(1, max(1, place.num_ways))
        heappush(self._changes, (place.begin, way))
        heappush(self._changes, (place.end, -way))
        while self._changes and (self._changes[0][0] <= self._clear or self._ended_here >= 1):
            self._clear, change = max(self._clear, self._changes[0][0]), heappop(self._changes)[1]
            self._ended_here += change

    def _heard(self) -> list[str]:
        texts: list[str] = []
        while (voice := self._speaking or self._next()) is not None:
            self._speaking = voice
            texts += self._held.get(voice, [])
            self._held[voice] = []
            if voice not in self._silent:
                break
            del self._held[voice]
            self._silent.discard(voice)
            self._speaking = None
        self.len_held -= sum(map(len, texts))
        return texts

    def _next(self) -> _Voice | None:
        """Return whose turn it is to speak: the first of those before whom all has ended."""
        ready = [voice for voice in self._held if voice.begin <= self._clear]
        return min(ready, key=lambda voice: voice.begin) if ready else None


def _voice(place: Place, speaker: str) -> _Voice:
    return _Voice(place.begin, speaker)
