"""How commands print data: tables for people, JSON for programs. Knows no command."""

from collections.abc import Sequence
from typing import Annotated

import typer

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


def aligned(rows: Sequence[Sequence[object]], *, num_left: int) -> str:
    """Return `rows` in columns as wide as they need, the first `num_left` to the left and the others to the right.

    >>> print(aligned([("step", "records"), ("map", 5)], num_left=1))
    step  records
    map         5
    """
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in texts) for at in range(len(texts[0]))]
    sides = ["<"] * num_left + [">"] * (len(widths) - num_left)
    form = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return "\n".join(form.format(*row).rstrip() for row in texts)


def counted(num: int, noun: str) -> str:
    """Return an amount of things for people: `1 node`, `3 nodes`."""
    return f"{num:,} {noun}" if num == 1 else f"{num:,} {noun}s"


def megabytes(num_bytes: int) -> str:
    """Return an amount for people: `98.4 MB`."""
    return f"{num_bytes / 1e6:.1f} MB"
