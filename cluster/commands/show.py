"""How commands print data: tables for people, JSON for programs. Knows no command."""

from collections.abc import Sequence
from typing import Annotated

import typer

from sage.base.aligned import aligned

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
INTERRUPTED = 130
"""The exit status after Ctrl-C, as a shell reports it: 128 + SIGINT."""


def print_json(value: object) -> None:
    """Print any value that msgspec can encode, indented."""
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(rows: Sequence[Sequence[object]]) -> None:
    """Print `rows`, the first of which is the heading, in columns as wide as they need."""
    print(aligned(rows, num_left=len(rows[0])))


def counted(num: int, noun: str) -> str:
    """Return an amount of things for people: `1 node`, `3 nodes`."""
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def calls_line(num_replayed: int, num_repeated: int) -> str:
    """Return what became of the model calls of an earlier run: `12 answered from the journal, 3 made again`."""
    return f"model calls of an earlier run: {num_replayed:,} answered from the journal, {num_repeated:,} made again"


def cache_line(num_cached: int, num_unreadable: int) -> str:
    """Return what a cache did for calls: `calls answered from a cache: 12`."""
    unreadable = f", {num_unreadable:,} that could not be read dropped and asked again" if num_unreadable else ""
    return f"calls answered from a cache: {num_cached:,}{unreadable}"
