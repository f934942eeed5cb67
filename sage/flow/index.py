"""Indexes and passages as values. Knows nothing of how vectors are stored or searched."""

import msgspec

from sage.flow.where import refusal


class Index(msgspec.Struct, frozen=True):
    """An index by its name: `index_into` fills it, `retrieve` asks it; flows that use one name share it.

    >>> Index("docs").name
    'docs'
    """

    name: str

    def __post_init__(self) -> None:
        name: object = self.name
        if not isinstance(name, str) or not name:
            raise refusal(f"an index needs a name, got {self.name!r}", 'Write `sage.Index("docs")`.', param="name")


class Passage(msgspec.Struct, frozen=True):
    """A text found in an index. `score`: the cosine of its vector and the question's, -1 to 1.

    `source` says where the text is from; "" where the index was filled without sources.
    """

    text: str
    score: float
    source: str = ""
