"""Random flows that are asked as models, and what each is to answer. Knows no runner.

What a step makes of a record is a function of its text alone, so that the answer to a question is known: parts in the
order of their places, each from a record, or said by a simulated model.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from random import Random
from typing import Any

from tests.simulation.coroutines import Pause
from tests.simulation.flows import CHAT, EMBED, Outside, RandomFlow

_KINDS = ("map", "filter", "flat_map", "spread", "batches", "buffer", "risky", "call", CHAT, EMBED)
_FORK_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Part:
    """A record of a turn: its text, where its part of the answer begins and how wide that is.

    `is_bad`: a step raises on it.
    """

    text: str
    begin: Fraction = Fraction(0)
    width: Fraction = Fraction(1)
    is_bad: bool = False

    def parted(self, texts: Sequence[str]) -> list["Part"]:
        width = self.width / max(1, len(texts))
        return [replace(self, text=text, begin=self.begin + at * width, width=width) for at, text in enumerate(texts)]


Make = Callable[[Part], list[Part]]
Say = Callable[[str, int | None], str]
"""What is said for the text of a record, where the caller wants at most so many tokens."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`said`: the texts of the parts, each with where it begins; those that begin together may come in any order.

    `fails`: a part is bad, so that there is no end of it, and nothing is heard of what comes after it.
    """

    said: tuple[tuple[Fraction, str], ...]
    fails: bool

    @property
    def has_reply(self) -> bool:
        return bool(self.said)

    def begins_with(self, heard: str) -> bool:
        """Say whether `heard` may have been heard of it so far."""
        return _matches(self.said, heard, is_whole=False)

    def is_all(self, heard: str) -> bool:
        return _matches(self.said, heard, is_whole=True)


def _matches(said: tuple[tuple[Fraction, str], ...], heard: str, *, is_whole: bool) -> bool:
    if not said or not heard:
        return not heard and (not is_whole or not "".join(text for _, text in said))
    first = min(begin for begin, _ in said)
    for at, (begin, text) in enumerate(said):
        if begin != first:
            continue
        if heard.startswith(text) and _matches(said[:at] + said[at + 1 :], heard[len(text) :], is_whole=is_whole):
            return True
        if not is_whole and text.startswith(heard):
            return True
    return False


@dataclass(frozen=True, slots=True)
class Way:
    """Steps from the question to a reply."""

    makes: tuple[Make, ...]
    say: Say


@dataclass(frozen=True, slots=True)
class Chat:
    """A flow as a model of this name."""

    name: str
    ways: tuple[Way, ...]

    def answer(self, question: str, max_tokens: int | None) -> Answer:
        """Return what is to be answered."""
        said: list[tuple[Fraction, str]] = []
        bad: list[Fraction] = []
        for way in self.ways:
            parts = [Part(question)]
            for make in way.makes:
                parts = [made for part in parts for made in ([part] if part.is_bad else make(part))]
            bad += [part.begin for part in parts if part.is_bad]
            said += [(part.begin, way.say(part.text, max_tokens)) for part in parts if not part.is_bad]
        heard = [one for one in said if not bad or one[0] <= min(bad)]
        return Answer(tuple(sorted(heard)), bool(bad))


class ChatFlow(RandomFlow):
    """A flow of one or two chats, each of which may fork into two ways."""

    chats: list[Chat]

    def _draw(self, outside: Outside | None) -> None:
        self.asks_models = True
        self.chats = [self._chat_named(f"{self.flow.name}-{number}") for number in range(self._rng.choice((1, 1, 2)))]

    def _chat_named(self, name: str) -> Chat:
        rng = self._rng
        stream, makes = self._steps(self.flow.from_chat(name).map(lambda turn: turn["question"]), (), rng.randint(0, 3))
        if rng.random() >= _FORK_SHARE:
            return Chat(name, (self._reply(stream, makes),))
        ways = [self._steps(stream.map(_with(mark)), (*makes, _one(_with(mark))), rng.randint(0, 3)) for mark in "xy"]
        if rng.random() < 0.5:
            return Chat(name, tuple(self._reply(*way) for way in ways))
        (one, first), (other, second) = ways
        both, more = self._steps(one.union(other), (), rng.randint(0, 2))
        end = self._reply(both, ())
        return Chat(name, tuple(Way((*makes, *more, *end.makes), end.say) for makes in (first, second)))

    def _reply(self, stream: Any, makes: tuple[Make, ...]) -> Way:
        """End a way: by the text of its records, or by what a model says of them."""
        if self._rng.random() < 0.5:
            stream.map(_shown).reply()
            return Way(makes, lambda text, max_tokens: _shown(text))
        num = self._rng.randint(1, 5)
        parallelism, in_flight = self._rng.choice((1, 1, 2)), self._rng.choice((1, 3, 64))
        said = stream.generate(model=CHAT, prompt=_prompt, max_tokens=num, max_in_flight=in_flight)
        said.with_parallelism(parallelism).reply()
        return Way(makes, lambda text, max_tokens: words(num if max_tokens is None else min(num, max_tokens)))

    def _steps(self, stream: Any, makes: tuple[Make, ...], num: int) -> tuple[Any, tuple[Make, ...]]:
        for _ in range(num):
            stream, make = self._step(stream, self._rng.choice(_KINDS))
            makes = (*makes, make)
        return stream, makes

    def _step(self, stream: Any, kind: str) -> tuple[Any, Make]:
        num = self._rng.randint(1, 3)
        match kind:
            case "filter":
                return stream.filter(_is_kept), lambda part: [part] if _is_kept(part.text) else []
            case "flat_map":
                return stream.flat_map(_parts), lambda part: part.parted(_parts(part.text))
            case "spread":
                return stream.map(_with("s")).with_parallelism(num), _one(_with("s"))
            case "batches":
                return stream.map_batches(_all_with("b"), max_records=num), _one(_with("b"))
            case "buffer":
                return stream.map_batches(_all_with("w"), max_records=4, max_wait_s=0.2), _one(_with("w"))
            case "risky":
                return stream.map(_risky), _one_risky
            case "call":
                return self._call(stream), _one_risky
            case "chat":
                return self._ask(stream, num), _one(_with("c"))
            case "embed":
                embedded = stream.embed(model=EMBED, text=_prompt, into=lambda text, vector: text + "e")
                return embedded, _one(_with("e"))
            case _:
                return stream.map(_with("m")), _one(_with("m"))

    def _call(self, stream: Any) -> Any:
        longest_s, rng = self._rng.choice((0.0, 0.05, 0.5)), Random(self._rng.getrandbits(32))

        async def call(text: str) -> str:
            await Pause(rng.random() * longest_s)
            return _risky(text)

        in_flight = self._rng.choice((1, 4, 64))
        return stream.map_async(call, max_in_flight=in_flight, ordered=self._rng.random() < 0.7)

    def _ask(self, stream: Any, num: int) -> Any:
        wanted = words(num)

        def heard(text: str, reply: str) -> str:
            if reply != wanted:
                self.violations.append(f"{text!r} was answered {reply!r} instead of {wanted!r}")
            return text + "c"

        return stream.generate(model=CHAT, prompt=_prompt, max_tokens=num, into=heard).with_parallelism(
            self._rng.choice((1, 2))
        )


def words(num_tokens: int) -> str:
    """Return what a simulated model says in so many tokens."""
    return " ".join(f"simulated-{number}" for number in range(1, num_tokens + 1))


# What steps make of a text.


def _one(fn: Callable[[str], str]) -> Make:
    return lambda part: [replace(part, text=fn(part.text))]


def _one_risky(part: Part) -> list[Part]:
    return [replace(part, is_bad=True) if _is_bad(part.text) else replace(part, text=part.text + "r")]


def _with(mark: str) -> Callable[[str], str]:
    return lambda text: text + mark


def _all_with(mark: str) -> Callable[[list[str]], list[str]]:
    return lambda texts: [text + mark for text in texts]


def _shown(text: str) -> str:
    return f"<{text}>"


def _prompt(text: str) -> str:
    return f"say {text}"


def _drawn(text: str, num: int) -> int:
    return zlib.crc32(text.encode()) % num


def _is_kept(text: str) -> bool:
    return _drawn(text, 5) > 0


def _parts(text: str) -> list[str]:
    return [f"{text}{number}" for number in range(_drawn(text, 4))]


def _is_bad(text: str) -> bool:
    return _drawn(text, 12) == 0


def _risky(text: str) -> str:
    if _is_bad(text):
        raise ValueError(f"{text!r} is bad")
    return text + "r"
