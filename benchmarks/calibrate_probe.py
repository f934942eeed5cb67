"""Asks a server what fits an engine's costs: prompts that have it for themselves, and rising numbers at once.

Knows nothing of what is made of the answers. No two prompts begin alike, but those that are asked twice.
"""

import asyncio
from dataclasses import dataclass

from benchmarks.calibrate_wanted import CalibrateWanted
from benchmarks.replay import ask, chat_request
from benchmarks.replay_figures import ReplayedCall
from benchmarks.replay_prompts import TokenRate, text_of
from benchmarks.simulator.arrival import Arrival
from cluster.serving.engines.openai_upstream import Upstream
from sage.base.errors import RequestFailed
from sage.base.inference import ModelCard

_LEAST_WORDS = 8
_ANSWER_TOKENS = 64
_WARM_TOKENS = 2
_MOST_LONG = 4  # at once: more take too long to be read
_LENGTHS_AN_OCTAVE = 2  # so that lengths end anywhere in a piece, whatever its size


@dataclass(frozen=True, slots=True)
class Together:
    """`asked` requests that were sent at once; times begin with the first."""

    asked: int
    calls: tuple[ReplayedCall, ...]


@dataclass(frozen=True, slots=True)
class Probed:
    """What one look at a server brought: prompts one by one, the same ones again, one prompt twice at once, rising
    numbers at once, and some with long prompts."""

    prompts: tuple[ReplayedCall, ...]
    again: tuple[ReplayedCall, ...]
    twice: tuple[ReplayedCall, ...]
    together: tuple[Together, ...]
    long: Together


class Probe:
    """Looks at a server as often as it is told to; on one event loop."""

    def __init__(self, wanted: CalibrateWanted, upstream: Upstream, card: ModelCard, rate: TokenRate) -> None:
        self._wanted = wanted
        self._upstream = upstream
        self._card = card
        self._rate = rate
        self._loop = asyncio.get_running_loop()
        self._num_asked = 0

    async def warm_up(self) -> None:
        """Ask for a little of everything: the first of its size may have to warm up. Raises RequestFailed."""
        for number in _doubling(1, self._wanted.max_sequences):
            await self._asked([_LEAST_WORDS] * number, _WARM_TOKENS)
        for num_words in self._lengths():
            await self._asked([num_words], 1)

    async def look(self) -> Probed:
        """Ask for everything once. Raises RequestFailed where a request fails."""
        prompts: list[ReplayedCall] = []
        again: list[ReplayedCall] = []
        for num_words in self._lengths():
            prompts += await self._asked([num_words], 1)
            self._num_asked -= 1  # the same text again
            again += await self._asked([num_words], 1)
        lengths, sizes = self._lengths(), _doubling(1, self._wanted.max_sequences)
        twice = await self._asked([lengths[-1] // 2] * 2, 1, are_alike=True)
        together = [await self._together(_LEAST_WORDS, number) for number in sizes]
        return Probed(
            tuple(prompts),
            tuple(again),
            tuple(twice),
            tuple(together),
            await self._together(lengths[-1] // 2, max(number for number in sizes if number <= _MOST_LONG)),
        )

    async def _together(self, num_words: int, number: int) -> Together:
        return Together(number, tuple(await self._asked([num_words] * number, _ANSWER_TOKENS)))

    def _lengths(self) -> list[int]:
        """Return prompts' lengths in words, up to what the context lets half of."""
        most = min(self._wanted.max_prompt_tokens, (self._card.context_tokens or 1 << 30) // 2)
        least = self._rate.fixed + _LEAST_WORDS * self._rate.per_word
        tokens = [least]
        while tokens[-1] * 2 ** (1 / _LENGTHS_AN_OCTAVE) <= most:
            tokens.append(tokens[-1] * 2 ** (1 / _LENGTHS_AN_OCTAVE))
        return [max(_LEAST_WORDS, self._rate.words(each - self._rate.fixed)) for each in tokens]

    async def _asked(
        self, lengths_words: list[int], answer_tokens: int, *, are_alike: bool = False
    ) -> list[ReplayedCall]:
        """Send all at once and wait for all; their times begin with the first. Raises RequestFailed."""
        calls = [ReplayedCall(Arrival(0.0, num_words, answer_tokens)) for num_words in lengths_words]
        start_s = self._loop.time()
        async with asyncio.TaskGroup() as group:
            for number, call in enumerate(calls):
                self._num_asked += 0 if number and are_alike else 1
                name = f"calibrate {self._num_asked}"
                prompt = text_of(call.arrival.prompt_tokens, f"{self._wanted.replay.seed} {name}").rstrip()
                request = chat_request(name, self._wanted.replay.model, prompt, answer_tokens)
                group.create_task(ask(self._upstream, self._card, call, request, lambda: self._loop.time() - start_s))
        if failures := [call.why or "no usage" for call in calls if call.why is not None or call.usage is None]:
            what = f"{self._upstream.where} failed {len(failures)} of {len(calls)} requests at once: {failures[0]}"
            raise RequestFailed(what, "Ask for fewer, or for less: --max-sequences, --max-prompt.")
        return calls


def _doubling(least: int, most: int) -> list[int]:
    """Return least, twice as many, and so on, up to most.

    >>> _doubling(1, 9)
    [1, 2, 4, 8]
    """
    return [least << power for power in range(max(1, (most // least).bit_length()))]
