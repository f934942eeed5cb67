"""Reads the Python language reference that ships inside every CPython and cuts it into chunks.

Knows nothing of models or streams: texts in, chunks out.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pydoc_data.topics import topics as _REFERENCE

CHUNK_CHARS = 700
"""The longest chunk: 19 in 20 of that length are within the 256 tokens that MiniLM reads (measured 2026-11-22)."""

_UNDERLINES = '*=-~^"'


@dataclass(frozen=True, slots=True)
class Topic:
    """One article of the reference: what `help("with")` shows. `name` is what help is asked for."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of an article, whole paragraphs of one section. `topic_chars` is the length of the article it is from."""

    topic: str
    section: str
    text: str
    topic_chars: int

    @property
    def source(self) -> str:
        """Name where the chunk stands, for people."""
        return f"{self.topic}: {self.section}"

    @property
    def titled_text(self) -> str:
        """Return what is embedded: the text under its section's title, so that a pronoun keeps what it stands for."""
        return f"{self.section}\n{self.text}"


def read_topics() -> list[Topic]:
    """Return every article of the reference of the running Python, by name."""
    return [Topic(name, text) for name, text in sorted(_REFERENCE.items())]


def chunks_of(topic: Topic, *, max_chars: int = CHUNK_CHARS) -> list[Chunk]:
    """Cut `topic` into chunks of at most `max_chars` characters, each within one section.

    Cuts are made between paragraphs; between lines only inside a paragraph that is longer by itself.
    """
    return [
        Chunk(topic.name, title, text, len(topic.text))
        for title, body in _sections(topic)
        for text in _packed(_paragraphs(body, max_chars), max_chars)
    ]


def more_specific(one: Chunk, other: Chunk) -> Chunk:
    """Return the chunk of the shorter article: the reference repeats whole articles inside longer ones."""
    return min(one, other, key=lambda chunk: (chunk.topic_chars, chunk.topic))


def _sections(topic: Topic) -> Iterator[tuple[str, str]]:
    """Yield title and body of each section, in order; what stands before the first title goes by the topic's name."""
    lines = topic.text.splitlines()
    titles = [at for at, (line, below) in enumerate(pairwise(lines)) if _is_underlined(line, below)]
    yield topic.name, "\n".join(lines[: titles[0] if titles else len(lines)])
    for at, end in pairwise([*titles, len(lines)]):
        yield lines[at].replace('"', ""), "\n".join(lines[at + 2 : end])


def _is_underlined(line: str, below: str) -> bool:
    return bool(line) and len(below) >= 3 and below[0] in _UNDERLINES and below == below[0] * len(below)


def _paragraphs(body: str, max_chars: int) -> Iterator[str]:
    """Yield the paragraphs of `body`; one that is too long comes as several, cut between lines."""
    for paragraph in re.split(r"\n\s*\n", body):
        yield from _packed(paragraph.splitlines(), max_chars, joint="\n")


def _packed(parts: Iterator[str] | list[str], max_chars: int, *, joint: str = "\n\n") -> Iterator[str]:
    """Join `parts` while they fit into `max_chars`; a single part that does not fit stands alone."""
    held = ""
    for part in parts:
        if not part.strip():
            continue
        if held and len(held) + len(joint) + len(part) > max_chars:
            yield held
            held = part
        else:
            held = f"{held}{joint}{part}" if held else part
    if held:
        yield held
