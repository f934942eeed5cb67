"""What a job collected, as lines for people and programs. Knows nothing of how it was fetched."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import msgspec

from cluster.client.kept_results import KeptResults
from cluster.commands.show import counted


def lines_of(items: Sequence[Any]) -> list[str]:
    """Return a line of JSON for each record; what is no JSON as Python shows it, in quotes.

    >>> lines_of([("a", 1), {"b": None}, 1j])
    ['["a",1]', '{"b":null}', '"1j"']
    """
    encode = msgspec.json.Encoder(enc_hook=repr).encode
    return [_line(item, encode) for item in items]


def key_of_text(text: str) -> Hashable:
    """Return a key as it is written on a command line: JSON, lists as tuples; what is no JSON is a text.

    >>> key_of_text("7"), key_of_text("ann"), key_of_text('"7"'), key_of_text('["ann", [7, null]]')
    (7, 'ann', '7', ('ann', (7, None)))
    """
    try:
        key: Hashable = _as_key(msgspec.json.decode(text))
    except msgspec.DecodeError:
        return text
    return key


def notes_of(found: KeptResults) -> Iterator[str]:
    """Yield what is to be known of them beside the records."""
    if found.num_dropped:
        yield f"{counted(found.num_dropped, 'older record')} are not kept any more"
    if found.state.has_lost_results and not found.items:
        yield "what it collected was kept by a head that has ended"
    elif not found.items:
        yield "it has collected nothing that nobody took"
    if not found.state.is_over:
        yield f"the job is {found.state.metrics.status}: more may come"


def _line(item: Any, encode: Any) -> str:
    try:
        return str(encode(item), "utf-8")
    except (TypeError, ValueError, RecursionError):  # keys that are no text, for one
        return str(encode(repr(item)), "utf-8")


def _as_key(value: Any) -> Any:
    return tuple(map(_as_key, value)) if isinstance(value, list) else value
